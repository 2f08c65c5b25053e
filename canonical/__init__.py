"""The shared language: what every layer may say to another. Imports nothing of ours."""
