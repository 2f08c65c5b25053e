"""What an administrator says about a Salesforce org: host, sign-in, and its own field names."""

from typing import Literal

from pydantic import Field, SecretStr

from adapters.settings import Strict, VendorSettings

NAME = r"^[A-Za-z][A-Za-z0-9_]{0,79}$"
OPTIONAL_NAME = r"^(?:[A-Za-z][A-Za-z0-9_]{0,79})?$"


class JwtBearer(Strict):
    """Server-to-server sign-in of a pre-authorised user (vendor page 2.1)."""

    kind: Literal["jwt_bearer"] = "jwt_bearer"
    consumer_key: str
    username: str
    audience: str = "https://login.salesforce.com"
    private_key: SecretStr


class ClientCredentials(Strict):
    """Sign-in of the app itself, as its run-as user; My Domain hosts only (vendor page 2.2)."""

    kind: Literal["client_credentials"] = "client_credentials"
    client_id: str
    client_secret: SecretStr


class OpportunityFields(Strict):
    """API names of the org's own fields on Opportunity."""

    kind: str = Field("Deal_Kind__c", pattern=NAME)
    signed_on: str = Field("Contract_Signed_Date__c", pattern=NAME)
    signature_waiver_until: str = Field("Signature_Waiver_Until__c", pattern=NAME)
    contract_amount: str = Field("Contract_Amount__c", pattern=NAME)
    start: str = Field("Contract_Start__c", pattern=NAME)
    end: str = Field("Contract_End__c", pattern=NAME)
    payment_terms: str = Field("Payment_Terms__c", pattern=NAME)
    client_po: str = Field("Client_PO__c", pattern=NAME)
    legal_entity: str = Field("Legal_Entity__c", pattern=NAME)
    template: str = Field("Delivery_Template__c", pattern=NAME)
    project_manager_email: str = Field("Project_Manager_Email__c", pattern=NAME)
    erp_client_id: str = Field("ERP_Customer_Id__c", pattern=NAME)
    erp_project_id: str = Field("ERP_Project_Id__c", pattern=NAME)
    psa_project_id: str = Field("PSA_Project_Id__c", pattern=NAME)
    integration_status: str = Field("Integration_Status__c", pattern=NAME)


class FinanceFields(Strict):
    """API names of the fields on Opportunity in which Dealthread shows the deal's money."""

    invoiced: str = Field("Dealthread_Invoiced__c", pattern=NAME)
    outstanding: str = Field("Dealthread_Outstanding__c", pattern=NAME)
    overdue: str = Field("Dealthread_Overdue__c", pattern=NAME)
    unbilled: str = Field("Dealthread_Unbilled__c", pattern=NAME)
    margin_percent: str = Field("Dealthread_Margin__c", pattern=NAME)
    status: str = Field("Dealthread_Invoice_Status__c", pattern=NAME)
    as_of: str = Field("Dealthread_As_Of__c", pattern=NAME)


class BillingHolds(Strict):
    """What in the org says that a client is not to be billed for now."""

    account_field: str = Field("Billing_Hold__c", pattern=OPTIONAL_NAME)
    """Checkbox on Account; empty: the org has none."""
    case_types: tuple[str, ...] = ("Billing Dispute",)
    """An open case of the account holds when it has one of these types, or one of the reasons;
    without any of either, cases hold nothing."""
    case_reasons: tuple[str, ...] = ()


class AccountFields(Strict):
    """API names of the org's own fields on Account."""

    tax_id: str = Field("Tax_Id__c", pattern=NAME)
    billing_email: str = Field("Billing_Email__c", pattern=NAME)


class LineFields(Strict):
    """API names of the org's own fields on OpportunityLineItem."""

    type: str = Field("Contract_Line_Type__c", pattern=NAME)
    legal_entity: str = Field("Legal_Entity__c", pattern=NAME)
    tax_category: str = Field("Tax_Category__c", pattern=NAME)
    cap: str = Field("Cap_Amount__c", pattern=NAME)


class SalesforceConfig(VendorSettings):
    """One Salesforce org."""

    api_version: str = Field("v67.0", pattern=r"^v\d{2}\.0$")
    auth: JwtBearer | ClientCredentials = Field(discriminator="kind")
    opportunity: OpportunityFields = OpportunityFields()
    account: AccountFields = AccountFields()
    line: LineFields = LineFields()
    finances: FinanceFields = FinanceFields()
    billing_holds: BillingHolds = BillingHolds()
