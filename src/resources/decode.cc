#include "resources/decode.h"

#include <array>
#include <utility>

#include "base/digest.h"
#include "resources/decoders.h"
#include "resources/fields.h"
#include "resources/ipam.h"

namespace ocicat {
namespace {

template <class T>
Result<Resource> as_resource(Result<T> value) {
  if (!value) return std::unexpected(std::move(value).error());
  return Resource(*std::move(value));
}

}  // namespace

Result<Resource> decode(Kind kind, const boost::json::object& json) {
  switch (kind) {
    case Kind::kTier:
      return as_resource(decoding::tier(json));
    case Kind::kNetworkPolicy:
    case Kind::kGlobalNetworkPolicy:
    case Kind::kStagedNetworkPolicy:
    case Kind::kStagedGlobalNetworkPolicy:
      return as_resource(decoding::policy(kind, json));
    case Kind::kKubernetesNetworkPolicy:
    case Kind::kStagedKubernetesNetworkPolicy:
      return as_resource(decoding::policy_of_kubernetes(kind, json));
    case Kind::kNetworkSet:
    case Kind::kGlobalNetworkSet:
      return as_resource(decoding::network_set(kind, json));
    case Kind::kProfile:
      return as_resource(decoding::profile(json));
    case Kind::kWorkloadEndpoint:
      return as_resource(decoding::workload_endpoint(json));
    case Kind::kHostEndpoint:
      return as_resource(decoding::host_endpoint(json));
    case Kind::kNode:
      return as_resource(decoding::node(json));
    case Kind::kIpPool:
      return as_resource(decoding::ip_pool(json));
    case Kind::kBgpConfiguration:
      return as_resource(decoding::bgp_configuration(json));
    case Kind::kBgpPeer:
      return as_resource(decoding::bgp_peer(json));
    case Kind::kBgpFilter:
      return as_resource(decoding::bgp_filter(json));
    case Kind::kFelixConfiguration:
      return as_resource(decoding::felix_configuration(json));
    case Kind::kNamespace:
      return as_resource(decoding::profile_of_namespace(json));
    case Kind::kServiceAccount:
      return as_resource(decoding::profile_of_service_account(json));
    case Kind::kPod:
      return as_resource(decoding::endpoint_of_pod(json));
    case Kind::kClusterNetworkPolicy:
      return as_resource(decoding::policy_of_cluster(json));
    case Kind::kEndpointSlice:
      return as_resource(decoding::endpoint_slice(json));
    case Kind::kService:
      return as_resource(decoding::service(json));
    case Kind::kIpamBlock:
      return as_resource(decode_address_block(json));
    case Kind::kBlockAffinity:
      return as_resource(decode_block_claim(json));
    case Kind::kAgentConfiguration:
      return as_resource(decoding::agent_configuration(json));
    case Kind::kClusterInformation:
      return as_resource(decoding::cluster_information(json));
    case Kind::kIpReservation:
    case Kind::kIpamConfiguration:
    case Kind::kIpamHandle:  // these have decoders of their own: ipam.h
    case Kind::kAgentStatus:
      break;
  }
  return fail(ErrorCode::kUnsupported, "{} is not a kind that is computed from", info(kind).name);
}

Result<ResourceKey> key_of(const boost::json::object& json) {
  TRY(const auto api_version, fields::string_at(json, "apiVersion"));
  TRY(const auto kind_name, fields::string_at(json, "kind"));
  if (kind_name.empty()) return fields::wrong("kind", "must be there");
  const auto kind = find_kind(api_version, kind_name);
  if (!kind) {
    return fields::wrong(
        "kind", fmt::format("there is no kind {} in {}", kind_name.substr(0, 80),
                            api_version.empty() ? "an unnamed apiVersion" : api_version.substr(0, 80)));
  }
  TRY(const auto* metadata, fields::object_at(json, "metadata"));
  if (metadata == nullptr) return fields::wrong("metadata", "must be there");
  const auto name = fields::string_at(*metadata, "name");
  if (!name) return fields::inside("metadata", name.error());
  if (name->empty()) return fields::wrong("metadata.name", "must be there");
  const auto ns = fields::string_at(*metadata, "namespace");
  if (!ns) return fields::inside("metadata", ns.error());
  return ResourceKey{*kind, std::string(info(*kind).namespaced ? *ns : std::string_view()),
                     std::string(*name)};
}

std::string workload_endpoint_name(std::string_view node, std::string_view orchestrator,
                                   std::string_view workload, std::string_view endpoint) {
  std::string name;
  for (const auto part : {node, orchestrator, workload, endpoint}) {
    if (!name.empty()) name += '-';
    for (const char c : part) {
      if (c == '-') name += '-';
      name += c;
    }
  }
  return name;
}

std::string workload_interface_name(std::string_view ns, std::string_view pod) {
  const auto digest = sha1(fmt::format("{}.{}", ns, pod));
  std::string name = "cali";
  constexpr std::size_t kHashDigits = 11;
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (std::size_t i = 0; i < kHashDigits; ++i) {
    const auto byte = digest[i / 2];
    name += kDigits[i % 2 == 0 ? byte >> 4 : byte & 0xf];
  }
  return name;
}

namespace decoding {

Result<Metadata> read_identity(Kind kind, const boost::json::object& document) {
  TRY(const auto* stated, fields::object_at(document, "metadata"));
  if (stated == nullptr) return fields::wrong("metadata", "must be there");
  Metadata metadata;
  using Field = std::pair<std::string_view, std::string*>;
  for (const auto& [name, target] :
       {Field{"name", &metadata.name}, Field{"namespace", &metadata.ns}, Field{"uid", &metadata.uid},
        Field{"resourceVersion", &metadata.resource_version}}) {
    const auto text = fields::string_at(*stated, name);
    if (!text) return fields::inside("metadata", text.error());
    *target = *text;
  }
  if (metadata.name.empty()) return fields::wrong("metadata.name", "must be there");
  if (!info(kind).namespaced) metadata.ns.clear();
  if (info(kind).namespaced && metadata.ns.empty())
    return fields::wrong("metadata.namespace", "must be there");
  return metadata;
}

Result<Metadata> read_metadata(Kind kind, const boost::json::object& document) {
  TRY(auto metadata, read_identity(kind, document));
  auto labels = fields::labels_at(*fields::find(document, "metadata")->if_object(), "labels");
  if (!labels) return fields::inside("metadata", std::move(labels).error());
  metadata.labels = *std::move(labels);
  return metadata;
}

}  // namespace decoding
}  // namespace ocicat
