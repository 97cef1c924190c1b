package pforte.reference;

import org.keycloak.models.ClientSessionContext;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.ProtocolMapperModel;
import org.keycloak.models.UserSessionModel;
import org.keycloak.protocol.oidc.mappers.OIDCAccessTokenResponseMapper;
import org.keycloak.protocol.oidc.mappers.OIDCAttributeMapperHelper;
import org.keycloak.protocol.oidc.mappers.UserAttributeMapper;
import org.keycloak.representations.AccessTokenResponse;

/**
 * Keycloak's user-attribute mapper, which also writes into the token response.
 *
 * <p>SMART App Launch puts {@code patient} and {@code encounter} beside {@code access_token}. Keycloak's
 * own mapper writes a user's attribute into the token and the introspection response only.
 */
public final class LaunchContext extends UserAttributeMapper implements OIDCAccessTokenResponseMapper {
	@Override
	public String getId() {
		return "smart-launch-context";
	}

	@Override
	public String getDisplayType() {
		return "SMART launch context";
	}

	@Override
	protected void setClaim(
			AccessTokenResponse response,
			ProtocolMapperModel mapper,
			UserSessionModel user,
			KeycloakSession keycloak,
			ClientSessionContext client) {
		String value = user.getUser().getFirstAttribute(mapper.getConfig().get("user.attribute"));
		if (value != null) {
			OIDCAttributeMapperHelper.mapClaim(response, mapper, value);
		}
	}
}
