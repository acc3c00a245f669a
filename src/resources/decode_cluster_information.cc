// ClusterInformation: of what it says, whether anything may be added.
#include "resources/decoders.h"
#include "resources/fields.h"

namespace ocicat::decoding {

Result<ClusterInformation> cluster_information(const boost::json::object& document) {
  ClusterInformation information;
  TRY(information.metadata, read_metadata(Kind::kClusterInformation, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr || fields::find(*spec, "datastoreReady") == nullptr) return information;
  const auto ready = fields::bool_at(*spec, "datastoreReady");
  if (!ready) return fields::inside("spec", ready.error());
  information.datastore_ready = *ready;
  return information;
}

}  // namespace ocicat::decoding
