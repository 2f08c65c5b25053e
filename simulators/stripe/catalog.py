"""Products, prices and tax rates: what lines refer to."""

from decimal import Decimal
from typing import Literal

from pydantic import Field

from simulators.kit import Record
from simulators.stripe.errors import invalid
from simulators.stripe.events import changed, tell
from simulators.stripe.forms import Amount, Fine, Form, Metadata, merged, plain
from simulators.stripe.listing import listed, searched
from simulators.stripe.money import currency_of, rounded
from simulators.stripe.state import Act, Fields
from simulators.stripe.views import view

TaxBehavior = Literal["exclusive", "inclusive", "unspecified"]
_FILTERS = {
    "price": ("active", "created", "currency", "lookup_key", "product", "type"),
    "product": ("active", "created"),
    "tax_rate": ("active", "created", "inclusive"),
}


class ProductForm(Form):
    active: bool = True
    description: str | None = None
    id: str | None = None
    metadata: Metadata = None
    name: str
    tax_code: str | None = None
    unit_label: str | None = None


class ProductUpdate(ProductForm):
    name: str = ""


class ProductData(Form):
    metadata: Metadata = None
    name: str
    tax_code: str | None = None
    unit_label: str | None = None


class Recurring(Form):
    """Licensed prices alone: metered ones are left out."""

    interval: Literal["day", "week", "month", "year"]
    interval_count: int = Field(default=1, ge=1)


class PriceData(Form):
    """A price made on the fly, for one item."""

    currency: str
    product: str | None = None
    product_data: ProductData | None = None
    recurring: Recurring | None = None
    tax_behavior: TaxBehavior = "unspecified"
    unit_amount: Amount | None = None
    unit_amount_decimal: Fine | None = None


class PriceForm(PriceData):
    active: bool = True
    lookup_key: str | None = None
    metadata: Metadata = None
    nickname: str | None = None


class PriceUpdate(Form):
    active: bool = True
    lookup_key: str | None = None
    metadata: Metadata = None
    nickname: str | None = None


class TaxRateForm(Form):
    active: bool = True
    country: str | None = None
    description: str | None = None
    display_name: str
    inclusive: bool
    jurisdiction: str | None = None
    metadata: Metadata = None
    percentage: Decimal = Field(ge=0, le=100, decimal_places=4)
    state: str | None = None
    tax_type: str | None = None


class TaxRateUpdate(Form):
    """A rate's percentage never changes: a new one is made."""

    active: bool = True
    country: str | None = None
    description: str | None = None
    display_name: str = ""
    jurisdiction: str | None = None
    metadata: Metadata = None
    state: str | None = None
    tax_type: str | None = None


_UPDATES: dict[str, type[ProductUpdate | PriceUpdate | TaxRateUpdate]] = {
    "price": PriceUpdate,
    "product": ProductUpdate,
    "tax_rate": TaxRateUpdate,
}


def create_product(act: Act) -> Fields:
    """`POST /v1/products`; the id may be the caller's own."""
    form = act.read(ProductForm)
    return view(act.account, _product(act, form, form.id))


def create_price(act: Act) -> Fields:
    """`POST /v1/prices`."""
    form = act.read(PriceForm)
    more: Fields = {
        "active": form.active,
        "lookup_key": form.lookup_key,
        "nickname": form.nickname,
    }
    return view(act.account, make_price(act, form, more, form.metadata))


def create_tax_rate(act: Act) -> Fields:
    """`POST /v1/tax_rates`."""
    form = act.read(TaxRateForm)
    percentage = float(form.percentage)  # a JSON number at Stripe; four places are exact enough
    shown: Fields = form.model_dump(mode="json", exclude={"metadata", "percentage"})
    fields: Fields = {
        **shown,
        "percentage": percentage,
        "effective_percentage": percentage,
        "flat_amount": None,
        "jurisdiction_level": None,
        "rate_type": "percentage",
    }
    rate = act.insert("tax_rate", fields, form.metadata)
    tell(act, "tax_rate.created", rate)
    return view(act.account, rate)


def make_price(act: Act, form: PriceData, more: Fields, metadata: Metadata = None) -> Record:
    """Create a price, and its product when that comes along.

    Raises:
        Refusal: no amount, two amounts, or no product.
    """
    if (form.unit_amount is None) == (form.unit_amount_decimal is None):
        text = "You must specify exactly one of unit_amount and unit_amount_decimal."
        raise invalid(text, "unit_amount")
    if form.product_data is not None:
        data = form.product_data
        made = ProductForm(
            name=data.name,
            metadata=data.metadata,
            tax_code=data.tax_code,
            unit_label=data.unit_label,
        )
        product = _product(act, made)
    elif form.product is not None:
        product = act.find("product", form.product, "product")
    else:
        raise invalid("You must specify either product or product_data.", "product")
    amount = Decimal(form.unit_amount or 0)
    if form.unit_amount_decimal is not None:
        amount = form.unit_amount_decimal
    recurring = None if form.recurring is None else form.recurring.model_dump(mode="json")
    if recurring is not None:
        recurring |= {"meter": None, "trial_period_days": None, "usage_type": "licensed"}
    fields: Fields = {
        "active": True,
        "billing_scheme": "per_unit",
        "currency": currency_of(form.currency),
        "custom_unit_amount": None,
        "lookup_key": None,
        "nickname": None,
        "product": product.id,
        "recurring": recurring,
        "tax_behavior": form.tax_behavior,
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time" if recurring is None else "recurring",
        "unit_amount": rounded(amount) if amount == amount.to_integral_value() else None,
        "unit_amount_decimal": plain(amount),
        **more,
    }
    price = act.insert("price", fields, metadata)
    tell(act, "price.created", price)
    return price


def update(act: Act, kind: str) -> Fields:
    """`POST /v1/{products,prices,tax_rates}/{id}`."""
    record = act.find(kind)
    form = act.read(_UPDATES[kind])
    changes: Fields = form.model_dump(mode="json", include=form.model_fields_set - {"metadata"})
    if form.given("metadata"):
        changes["metadata"] = merged(record.fields["metadata"], form.metadata)
    changed(act, f"{kind}.updated", record, changes)
    return view(act.account, record)


def read_one(act: Act, kind: str) -> Fields:
    """`GET /v1/{products,prices,tax_rates}/{id}`."""
    return view(act.account, act.find(kind))


def read_all(act: Act, kind: str) -> Fields:
    """`GET /v1/{products,prices,tax_rates}`."""
    return listed(act, act.path, act.account.store.list(kind), _FILTERS[kind])


def search(act: Act, kind: str) -> Fields:
    """`GET /v1/{products,prices}/search`."""
    return searched(act, kind, act.path)


def _product(act: Act, form: ProductForm, id_: str | None = None) -> Record:
    if id_ is not None and act.account.store.get("product", id_, dead=True) is not None:
        raise invalid("Product already exists.", "id", "resource_already_exists")
    shown: Fields = form.model_dump(mode="json", exclude={"id", "metadata"})
    fields: Fields = {
        **shown,
        "default_price": None,
        "images": [],
        "marketing_features": [],
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "type": "service",
        "updated": act.now,
        "url": None,
    }
    product = act.insert("product", fields, form.metadata)
    tell(act, "product.created", product)
    return product
