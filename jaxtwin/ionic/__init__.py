"""ionic."""
