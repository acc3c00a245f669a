// Namespaces and service accounts as profiles, pods as workload endpoints.
#include <boost/json/parse.hpp>

#include <algorithm>
#include <array>
#include <utility>

#include "resources/decode.h"
#include "resources/decoders.h"
#include "resources/fields.h"

namespace ocicat::decoding {
namespace json = boost::json;

namespace {

constexpr std::string_view kOrchestrator = "k8s";
constexpr std::string_view kEndpoint = "eth0";
constexpr std::string_view kIpsAnnotation = "cni.projectcalico.org/podIPs";
constexpr std::string_view kIpAnnotation = "cni.projectcalico.org/podIP";
constexpr std::string_view kAwsIpsAnnotation = "vpc.amazonaws.com/pod-ips";
constexpr std::string_view kFloatingAnnotation = "cni.projectcalico.org/floatingIPs";
constexpr std::string_view kSourcePrefixesAnnotation = "cni.projectcalico.org/allowedSourcePrefixes";
// A longer one is no label value, and so does not become one.
constexpr std::size_t kMaxServiceAccountLabel = 62;

// The object of that name, or an empty one.
Result<const json::object*> part_of(const json::object& document, std::string_view name) {
  static const json::object empty;
  TRY(const auto* part, fields::object_at(document, name));
  return part == nullptr ? &empty : part;
}

Result<std::vector<IpAddress>> addresses_in(std::string_view where, std::string_view comma_separated) {
  std::vector<IpAddress> addresses;
  while (!comma_separated.empty()) {
    const auto comma = std::min(comma_separated.find(','), comma_separated.size());
    auto text = comma_separated.substr(0, comma);
    comma_separated.remove_prefix(std::min(comma + 1, comma_separated.size()));
    while (text.starts_with(' ')) text.remove_prefix(1);
    while (text.ends_with(' ')) text.remove_suffix(1);
    const auto prefix = Prefix::parse(text, true);
    if (!prefix) return fields::wrong(where, json::value(text), "must be an IP address");
    addresses.push_back(prefix->address);
  }
  return addresses;
}

// A finished pod has given its addresses back, whatever its status still says.
Result<bool> finished(const json::object& metadata, const json::object& annotations,
                      const json::object& status) {
  TRY(const auto phase, fields::string_at(status, "phase"));
  if (phase == "Failed" || phase == "Succeeded" || phase == "Completed") return true;
  if (fields::find(metadata, "deletionTimestamp") == nullptr) return false;
  for (const auto name : {kIpAnnotation, kAwsIpsAnnotation}) {
    const auto* value = fields::find(annotations, name);
    if (value != nullptr && fields::text_of(*value) == "") return true;
  }
  return false;
}

// The first source that says any.
Result<std::vector<IpAddress>> pod_addresses(const json::object& annotations, const json::object& status) {
  TRY(const auto entries, fields::objects_at(status, "podIPs"));
  std::vector<IpAddress> addresses;
  for (const auto* entry : entries) {
    TRY(const auto text, fields::string_at(*entry, "ip"));
    TRY(const auto found, addresses_in("podIPs", text));
    addresses.insert(addresses.end(), found.begin(), found.end());
  }
  if (!addresses.empty()) return addresses;
  TRY(const auto single, fields::string_at(status, "podIP"));
  if (!single.empty()) return addresses_in("podIP", single);
  for (const auto name : {kIpsAnnotation, kIpAnnotation, kAwsIpsAnnotation}) {
    TRY(const auto text, fields::string_at(annotations, name));
    if (!text.empty()) return addresses_in(name, text);
  }
  return addresses;
}

// Ports of a container that policies can name. Protocols that have no ports in policy are passed over.
Result<void> add_container_ports(const json::object& container, std::vector<EndpointPort>& ports) {
  TRY(const auto entries, fields::objects_at(container, "ports"));
  for (const auto* entry : entries) {
    TRY(const auto name, fields::string_at(*entry, "name"));
    TRY(const auto number, fields::integer_at(*entry, "containerPort", 0, 65535));
    TRY(const auto protocol_text, fields::string_at(*entry, "protocol"));
    if (name.empty() || !number || *number == 0) continue;
    using Known = std::pair<std::string_view, Protocol>;
    constexpr std::array kProtocols{Known{"", kTcp}, Known{"TCP", kTcp}, Known{"UDP", kUdp},
                                    Known{"SCTP", kSctp}};
    for (const auto& [known, protocol] : kProtocols) {
      if (protocol_text == known)
        ports.push_back({std::string(name), protocol, static_cast<std::uint16_t>(*number)});
    }
  }
  return {};
}

// An annotation that is a JSON list of addresses or CIDRs. Nothing, where one of it cannot be read.
std::vector<Prefix> prefixes_in(const json::object& annotations, std::string_view name) {
  std::vector<Prefix> prefixes;
  const auto text = fields::string_at(annotations, name);
  if (!text || text->empty()) return prefixes;
  boost::system::error_code error;
  const auto parsed = json::parse(*text, error);
  if (error || !parsed.is_array()) return prefixes;
  for (const auto& entry : parsed.get_array()) {
    const auto cidr = fields::text_of(entry);
    const auto prefix = cidr ? Prefix::parse(*cidr, true) : std::nullopt;
    if (!prefix) return {};
    prefixes.push_back(*prefix);
  }
  return prefixes;
}

// They only ever widen what a pod may send, so what cannot be read allows nothing.
std::vector<Prefix> allowed_source_prefixes(const json::object& annotations) {
  auto prefixes = prefixes_in(annotations, kSourcePrefixesAnnotation);
  for (auto& prefix : prefixes) prefix = prefix.masked();
  return prefixes;
}

// Of a family of which the pod has no address, there is nothing to lead to.
std::vector<FloatingAddress> floating_addresses(const json::object& annotations,
                                                const std::vector<IpAddress>& own) {
  std::vector<FloatingAddress> floating;
  for (const auto& asked : prefixes_in(annotations, kFloatingAnnotation)) {
    const auto target = std::ranges::find(own, asked.family(), &IpAddress::family);
    if (asked.is_host() && target != own.end()) floating.push_back({asked.address, *target});
  }
  return floating;
}

// Most pods ask for nothing. What cannot be read limits nothing, and is told.
QosControls qos_of(const json::object& annotations) {
  Labels asking;
  for (const auto& [name, value] : annotations) {
    const auto text = fields::text_of(value);
    const auto key = fields::view(name);
    if (text && (key.starts_with(kQosAnnotations) || key.ends_with("-bandwidth"))) asking.emplace(key, *text);
  }
  return asking.empty() ? QosControls{} : qos_controls(qos_of_annotations(asking));
}

Result<void> read_pod_spec(const json::object& spec, WorkloadEndpoint& endpoint, bool& host_network) {
  TRY(const auto node, fields::string_at(spec, "nodeName"));
  endpoint.node = node;
  TRY(host_network, fields::bool_at(spec, "hostNetwork"));
  TRY(auto account, fields::string_at(spec, "serviceAccountName"));
  endpoint.service_account = account;
  for (const auto* list : {"containers", "initContainers"}) {
    TRY(const auto containers, fields::objects_at(spec, list));
    for (const auto* container : containers) {
      if (auto added = add_container_ports(*container, endpoint.ports); !added) {
        return fields::inside(list, std::move(added).error());
      }
    }
  }
  return {};
}

Rule allow_all() {
  return Rule{.action = Action::kAllow};
}

}  // namespace

Result<Profile> profile_of_namespace(const json::object& document) {
  Profile profile;
  TRY(profile.metadata, read_identity(Kind::kNamespace, document));
  auto labels =
      fields::labels_at(*fields::find(document, "metadata")->if_object(), "labels", kNamespacePrefix);
  if (!labels) return fields::inside("metadata", std::move(labels).error());
  profile.labels_to_apply = *std::move(labels);
  profile.labels_to_apply.insert_or_assign(fmt::format("{}projectcalico.org/name", kNamespacePrefix),
                                           profile.metadata.name);
  // Kubernetes' API server sees to it that every namespace has this label; policies rely on it.
  profile.labels_to_apply.insert_or_assign(fmt::format("{}kubernetes.io/metadata.name", kNamespacePrefix),
                                           profile.metadata.name);
  profile.metadata.name.insert(0, "kns.");
  profile.ingress.push_back(allow_all());
  profile.egress.push_back(allow_all());
  return profile;
}

Result<Profile> profile_of_service_account(const json::object& document) {
  Profile profile;
  TRY(profile.metadata, read_identity(Kind::kServiceAccount, document));
  auto labels =
      fields::labels_at(*fields::find(document, "metadata")->if_object(), "labels", kServiceAccountPrefix);
  if (!labels) return fields::inside("metadata", std::move(labels).error());
  profile.labels_to_apply = *std::move(labels);
  profile.labels_to_apply.insert_or_assign(fmt::format("{}projectcalico.org/name", kServiceAccountPrefix),
                                           profile.metadata.name);
  profile.metadata.name = fmt::format("ksa.{}.{}", profile.metadata.ns, profile.metadata.name);
  profile.metadata.ns.clear();  // a profile has none
  return profile;
}

Result<WorkloadEndpoint> endpoint_of_pod(const json::object& document) {
  WorkloadEndpoint endpoint;
  TRY(endpoint.metadata, read_metadata(Kind::kPod, document));
  const auto& metadata = *fields::find(document, "metadata")->if_object();
  TRY(const auto* spec, part_of(document, "spec"));
  TRY(const auto* status, part_of(document, "status"));
  TRY(const auto* annotations, part_of(metadata, "annotations"));
  bool host_network = false;
  if (auto read = read_pod_spec(*spec, endpoint, host_network); !read) {
    return fields::inside("spec", std::move(read).error());
  }
  const auto ns = endpoint.metadata.ns;
  const auto pod = endpoint.metadata.name;
  endpoint.orchestrator = kOrchestrator;
  endpoint.workload = pod;
  endpoint.profiles.push_back("kns." + ns);
  if (!endpoint.service_account.empty()) {
    endpoint.profiles.push_back(fmt::format("ksa.{}.{}", ns, endpoint.service_account));
  }
  // Of itself a pod may not say whose it is.
  endpoint.metadata.labels.erase(std::string(kServiceAccountLabel));
  settle_labels(endpoint.metadata.labels, ns, kOrchestrator,
                endpoint.service_account.size() <= kMaxServiceAccountLabel ? endpoint.service_account : "");
  const auto done = finished(metadata, *annotations, *status);
  if (!done) return fields::inside("status", done.error());
  if (endpoint.node.empty() || host_network) return endpoint;

  endpoint.metadata.name = workload_endpoint_name(endpoint.node, kOrchestrator, pod, kEndpoint);
  endpoint.interface_name = workload_interface_name(ns, pod);
  endpoint.allowed_source_prefixes = allowed_source_prefixes(*annotations);
  endpoint.qos = qos_of(*annotations);
  if (*done) return endpoint;
  auto addresses = pod_addresses(*annotations, *status);
  if (!addresses) return fields::inside("status", std::move(addresses).error());
  endpoint.addresses = *std::move(addresses);
  endpoint.floating = floating_addresses(*annotations, endpoint.addresses);
  return endpoint;
}

}  // namespace ocicat::decoding
