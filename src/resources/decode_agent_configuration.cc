// AgentConfiguration: settings that Calico has no field for.
#include "resources/decoders.h"
#include "resources/fields.h"

namespace ocicat::decoding {

Result<AgentConfiguration> agent_configuration(const boost::json::object& document) {
  AgentConfiguration configuration;
  TRY(configuration.metadata, read_metadata(Kind::kAgentConfiguration, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return configuration;
  const auto said = fields::string_at(*spec, "openConnections");
  if (!said) return fields::inside("spec", said.error());
  if (said->empty()) return configuration;
  if (*said != "FollowPolicy" && *said != "Stay")
    return fields::wrong("spec.openConnections", "must be FollowPolicy or Stay");
  configuration.open_connections = *said == "Stay" ? OpenConnections::kStay : OpenConnections::kFollowPolicy;
  return configuration;
}

}  // namespace ocicat::decoding
