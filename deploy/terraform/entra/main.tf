# What pigment-sync needs in one Entra tenant: an app registration that may read Graph, and nothing else.
# Guide: docs/terraform.md. Needs: the certificate whose private key stays with pigment-sync.

terraform {
  required_version = ">= 1.5"
  required_providers {
    azuread = {
      source  = "hashicorp/azuread"
      version = ">= 3.0"
    }
  }
}

data "azuread_client_config" "current" {}

data "azuread_application_published_app_ids" "well_known" {}

locals {
  permissions = toset(concat(
    ["Application.Read.All", "GroupMember.Read.All", "User.Read.All"],
    var.hidden_membership ? ["Member.Read.Hidden"] : [],
  ))
}

# Graph's own service principal exists in each tenant.
data "azuread_service_principal" "graph" {
  client_id = data.azuread_application_published_app_ids.well_known.result.MicrosoftGraph
}

resource "azuread_application" "pigment_sync" {
  display_name            = var.display_name
  sign_in_audience        = "AzureADMyOrg"
  owners                  = [data.azuread_client_config.current.object_id]
  prevent_duplicate_names = true

  required_resource_access {
    resource_app_id = data.azuread_application_published_app_ids.well_known.result.MicrosoftGraph

    dynamic "resource_access" {
      for_each = local.permissions

      content {
        id   = data.azuread_service_principal.graph.app_role_ids[resource_access.value]
        type = "Role"
      }
    }
  }
}

resource "azuread_service_principal" "pigment_sync" {
  client_id = azuread_application.pigment_sync.client_id
  owners    = [data.azuread_client_config.current.object_id]
}

# This is the admin consent: without it the permissions have no effect.
resource "azuread_app_role_assignment" "graph" {
  for_each = local.permissions

  app_role_id         = data.azuread_service_principal.graph.app_role_ids[each.value]
  principal_object_id = azuread_service_principal.pigment_sync.object_id
  resource_object_id  = data.azuread_service_principal.graph.object_id
}

resource "azuread_application_certificate" "pigment_sync" {
  count = var.certificate == null ? 0 : 1

  application_id = azuread_application.pigment_sync.id
  type           = "AsymmetricX509Cert"
  encoding       = "pem"
  value          = var.certificate
  end_date       = var.certificate_end_date

  lifecycle {
    precondition {
      condition     = var.certificate_end_date != null
      error_message = "Set certificate_end_date to the end of the certificate."
    }
  }
}
