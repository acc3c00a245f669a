#include "cni/endpoint.h"

#include <algorithm>
#include <boost/json.hpp>

#include "resources/fields.h"
#include "resources/qos.h"

namespace ocicat::cni {
namespace {

namespace json = boost::json;

constexpr std::string_view kIp = "cni.projectcalico.org/podIP";
constexpr std::string_view kIps = "cni.projectcalico.org/podIPs";
constexpr std::string_view kContainer = "cni.projectcalico.org/containerID";

const json::object& child(const json::object& object, std::string_view name) {
  static const json::object empty;
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_object() ? value->get_object() : empty;
}

json::object& annotations_in(json::object& document) {
  auto& metadata = document["metadata"];
  if (!metadata.is_object()) metadata.emplace_object();
  auto& annotations = metadata.get_object()["annotations"];
  if (!annotations.is_object()) annotations.emplace_object();
  return annotations.get_object();
}

std::string word_at(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  const auto text = value == nullptr ? std::nullopt : fields::text_of(*value);
  return std::string(text.value_or(""));
}

json::array ports_of(const Configuration& configuration) {
  json::array ports;
  for (const auto& port : configuration.ports) {
    ports.push_back(json::object{
        {"name", port.name}, {"protocol", protocol_name(port.protocol)}, {"port", std::int64_t{port.port}}});
  }
  return ports;
}

json::array profiles_of(const Attachment& attachment, const Configuration& configuration) {
  // Beside orchestrators a network's name is that of a profile, as in Calico; without one nothing passes.
  if (attachment.pod.empty()) return {json::string(documented(attachment.network))};
  json::array profiles{"kns." + attachment.ns};
  if (!configuration.service_account.empty())
    profiles.emplace_back(fmt::format("ksa.{}.{}", attachment.ns, configuration.service_account));
  return profiles;
}

json::array nats_of(const Attachment& attachment, const Wishes& wishes) {
  json::array nats;
  for (const auto& address : wishes.floating) {
    const auto own = std::ranges::find(attachment.addresses, address.family(), &IpAddress::family);
    if (own == attachment.addresses.end()) continue;
    nats.push_back(json::object{{"externalIP", address.to_string()}, {"internalIP", own->to_string()}});
  }
  return nats;
}

}  // namespace

Labels annotations_of(const json::object& document) {
  const auto annotations = fields::labels_at(child(document, "metadata"), "annotations");
  return annotations.value_or(Labels{});
}

json::object endpoint_document(const Attachment& attachment, const std::string& node,
                               const Configuration& configuration, const Wishes& wishes) {
  json::array networks;
  for (const auto& address : attachment.addresses) networks.emplace_back(Prefix::host(address).to_string());
  json::object labels;
  for (const auto& [key, value] : configuration.labels) labels[key] = value;
  json::object spec{{"orchestrator", attachment.pod.empty() ? "cni" : "k8s"},
                    {"node", node},
                    {"containerID", documented_container(attachment.container_id)},
                    {"endpoint", documented(attachment.ifname)},
                    {"interfaceName", attachment.host_interface},
                    {"mac", attachment.mac.to_string()},
                    {"ipNetworks", std::move(networks)},
                    {"profiles", profiles_of(attachment, configuration)}};
  if (!attachment.pod.empty()) spec["pod"] = attachment.pod;
  if (!configuration.ports.empty()) spec["ports"] = ports_of(configuration);
  if (!configuration.service_account.empty()) spec["serviceAccountName"] = configuration.service_account;
  if (!wishes.source_prefixes.empty()) {
    json::array prefixes;
    for (const auto& prefix : wishes.source_prefixes) prefixes.emplace_back(prefix);
    spec["allowSpoofedSourcePrefixes"] = std::move(prefixes);
  }
  if (auto nats = nats_of(attachment, wishes); !nats.empty()) spec["ipNATs"] = std::move(nats);
  if (!wishes.qos.empty()) {
    json::object controls;
    for (const auto& [name, number] : wishes.qos) controls[name] = number;
    spec["qosControls"] = std::move(controls);
  }
  return {{"apiVersion", "projectcalico.org/v3"},
          {"kind", "WorkloadEndpoint"},
          {"metadata", json::object{{"name", attachment.endpoint.name},
                                    {"namespace", attachment.ns},
                                    {"labels", std::move(labels)}}},
          {"spec", std::move(spec)}};
}

std::optional<Attachment> attachment_of(const ResourceKey& endpoint, const json::object& document,
                                        const std::string& network) {
  const auto& spec = child(document, "spec");
  Attachment attachment;
  attachment.container_id = word_at(spec, "containerID");
  attachment.ifname = word_at(spec, "endpoint");
  if (attachment.container_id.empty() || attachment.ifname.empty()) return std::nullopt;
  attachment.network = network;
  attachment.ns = endpoint.ns;
  attachment.pod = word_at(spec, "pod");
  attachment.host_interface = word_at(spec, "interfaceName");
  attachment.handle = handle_name(network, attachment.container_id, attachment.ifname);
  attachment.endpoint = endpoint;
  return attachment;
}

json::object with_addresses(json::object pod, const Attachment& attachment, const Wishes& wishes) {
  const auto asked = qos_of_annotations(annotations_of(pod)).numbers;
  auto& annotations = annotations_in(pod);
  for (const auto& [name, number] : wishes.qos) {
    if (!asked.contains(name)) annotations[kQosAnnotations + name] = fmt::format("{}", number);
  }
  std::string all;
  for (const auto& address : attachment.addresses) {
    if (!all.empty()) all += ',';
    all += Prefix::host(address).to_string();
  }
  annotations[kIp] = Prefix::host(attachment.addresses.front()).to_string();
  annotations[kIps] = all;
  annotations[kContainer] = attachment.container_id;
  return pod;
}

json::object without_addresses(json::object pod) {
  auto& annotations = annotations_in(pod);
  annotations[kIp] = "";
  annotations[kIps] = "";
  return pod;
}

std::string revision_of(const json::object& document) {
  return word_at(child(document, "metadata"), "resourceVersion");
}

std::string container_of(const json::object& document) {
  auto text = word_at(child(document, "spec"), "containerID");
  if (text.empty()) text = word_at(child(child(document, "metadata"), "annotations"), kContainer);
  return text.empty() ? text : documented_container(text);
}

Outcome<void> check_pod(const json::object& pod, const std::string& node) {
  const auto& spec = child(pod, "spec");
  const auto wrong = [](std::string why) {
    return refuse(FailureCode::kInvalidConfiguration, "the Pod is not to have an interface here",
                  std::move(why));
  };
  if (const auto bound = word_at(spec, "nodeName"); bound != node)
    return wrong(fmt::format("its spec.nodeName is \"{}\", and this is {}; see: ocicat get pods -o yaml",
                             bound, node));
  const auto* host_network = spec.if_contains("hostNetwork");
  if (host_network != nullptr && host_network->is_bool() && host_network->get_bool())
    return wrong(
        "its spec.hostNetwork is true, so it has its host's addresses and none of its own; see: ocicat get "
        "pods -o "
        "yaml");
  return {};
}

}  // namespace ocicat::cni
