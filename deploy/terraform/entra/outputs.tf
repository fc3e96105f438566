output "connector" {
  description = "The connector for the configuration of pigment-sync, but for the certificate's place."
  value = {
    type      = "entra"
    tenant_id = data.azuread_client_config.current.tenant_id
    client_id = azuread_application.pigment_sync.client_id
  }
}
