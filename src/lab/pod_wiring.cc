#include "lab/pod_wiring.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <filesystem>
#include <random>

#include "base/command.h"
#include "views/json_read.h"

namespace ocicat::lab {
namespace {

namespace json = boost::json;

constexpr std::string_view kNetwork = "lab";
constexpr std::string_view kInterface = "eth0";

std::string protocol_word(Protocol protocol) {
  return protocol == kTcp ? "TCP" : protocol == kUdp ? "UDP" : "SCTP";
}

json::array texts(const std::vector<IpAddress>& addresses) {
  json::array array;
  for (const auto& address : addresses) array.emplace_back(address.to_string());
  return array;
}

// What the plugin prints where it fails.
Error error_of(const std::string& command, const Finished& finished) {
  boost::system::error_code failed;
  const auto value = json::parse(finished.printed, failed);
  if (failed || !value.is_object())
    return {ErrorCode::kInternal, fmt::format("ocicat-cni {} failed: {}", command, finished.printed)};
  const auto& object = value.get_object();
  return {ErrorCode::kUnavailable,
          fmt::format("ocicat-cni {}: {}: {}", command, views::text_at(object, {"msg"}),
                      views::text_at(object, {"details"}))};
}

Result<std::string> call(const std::string& command, const Layout& layout, const LabRecord& lab,
                         const PodRecord& pod, const Labels& labels) {
  const auto plugin = std::filesystem::path(lab.program).parent_path() / "ocicat-cni";
  const std::vector<std::string> variables{
      "CNI_COMMAND=" + command,
      "CNI_CONTAINERID=" + pod.container,
      "CNI_NETNS=/run/netns/" + layout.pod_namespace(pod.ns, pod.name),
      fmt::format("CNI_IFNAME={}", kInterface),
      "CNI_PATH=" + plugin.parent_path().string(),
      fmt::format("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={}", pod.ns, pod.name)};
  TRY(auto finished, run_to_end({plugin.string()}, network_configuration(layout, pod, labels), variables));
  if (finished.exit_code == 0) return std::move(finished.printed);
  return std::unexpected(error_of(command, finished));
}

}  // namespace

std::string new_container_name() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

std::string handle_of(const PodRecord& pod) {
  return fmt::format("{}.{}", kNetwork, pod.container);
}

std::string network_configuration(const Layout& layout, const PodRecord& pod, const Labels& labels) {
  json::array pairs;
  for (const auto& [key, value] : labels) pairs.push_back(json::object{{"key", key}, {"value", value}});
  json::array ports;
  for (const auto& port : pod.listens) {
    if (port.name.empty()) continue;
    ports.push_back(json::object{
        {"name", port.name}, {"protocol", protocol_word(port.protocol)}, {"port", std::int64_t{port.port}}});
  }
  json::object ours{{"ports", std::move(ports)}};
  if (!pod.service_account.empty()) ours["serviceAccount"] = pod.service_account;
  if (!pod.floating.empty()) {
    ours["annotations"] =
        json::object{{"cni.projectcalico.org/floatingIPs", json::serialize(texts(pod.floating))}};
  }
  return json::serialize(json::object{
      {"cniVersion", "1.1.0"},
      {"name", kNetwork},
      {"type", "ocicat-cni"},
      {"agent_dir", layout.cni_folder(pod.host).string()},
      {"ipam", json::object{{"type", "calico-ipam"}, {"assign_ipv4", true}, {"assign_ipv6", true}}},
      {"feature_control", json::object{{"floating_ips", true}}},
      {"args",
       json::object{{"cni", json::object{{"labels", std::move(pairs)}, {"ips", texts(pod.addresses)}}},
                    {"ocicat", std::move(ours)}}}});
}

Result<std::vector<IpAddress>> attach(const Layout& layout, const LabRecord& lab, const PodRecord& pod,
                                      const Labels& labels) {
  TRY(const auto printed, call("ADD", layout, lab, pod, labels));
  boost::system::error_code failed;
  const auto result = json::parse(printed, failed);
  std::vector<IpAddress> addresses;
  const auto* object = failed ? nullptr : result.if_object();
  const auto* ips = object == nullptr ? nullptr : object->if_contains("ips");
  if (ips == nullptr || !ips->is_array())
    return fail(ErrorCode::kInternal, "the result of ocicat-cni cannot be read: {}", printed);
  for (const auto& ip : ips->get_array()) {
    const auto text = ip.is_object() ? views::text_at(ip.get_object(), {"address"}) : std::string();
    const auto address = Prefix::parse(text);
    if (!address) return fail(ErrorCode::kInternal, "ocicat-cni gave the address \"{}\"", text);
    addresses.push_back(address->address);
  }
  std::ranges::sort(addresses);
  std::ranges::stable_partition(addresses, [](const IpAddress& address) { return address.is_v4(); });
  return addresses;
}

Result<void> detach(const Layout& layout, const LabRecord& lab, const PodRecord& pod) {
  TRY([[maybe_unused]] const auto printed, call("DEL", layout, lab, pod, {}));
  return {};
}

}  // namespace ocicat::lab
