#include "cni/attachment.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <limits>

#include "base/digest.h"
#include "cni/delegation.h"
#include "resources/decode.h"
#include "resources/fields.h"
#include "resources/ipam.h"
#include "resources/schema_text.h"

namespace ocicat::cni {
namespace {

namespace json = boost::json;

constexpr std::string_view kDefaultNamespace = "default";
constexpr std::int64_t kMostTable = std::numeric_limits<std::uint32_t>::max();
constexpr std::string_view kHostMac = "ee:ee:ee:ee:ee:ee";
constexpr std::string_view kGateway = "169.254.1.1";
constexpr std::string_view kGateway6 = "fe80::ecee:eeff:feee:eeee";
constexpr std::size_t kNameDigits = 11;  // of an interface, after "cali"

using Phase = Attachment::Phase;
constexpr std::array<std::pair<Phase, std::string_view>, 3> kPhases{
    {{Phase::kAdding, "adding"}, {Phase::kAdded, "added"}, {Phase::kDeleting, "deleting"}}};

std::string_view word_of(Phase phase) {
  for (const auto& [known, word] : kPhases) {
    if (known == phase) return word;
  }
  return {};
}

std::string argument(const Call& call, std::string_view key) {
  const auto at = call.args.find(key);
  return at == call.args.end() ? std::string() : at->second;
}

bool is_document_name(std::string_view name) {
  return schema::check_dns_subdomain(name).empty();
}

bool is_handle(std::string_view name) {
  return is_document_name(handle_key(name).name);
}

// Readable, and one name's alone.
std::string coded(std::string_view name) {
  constexpr std::size_t kReadable = 40, kDigits = 16;
  std::string text(name.substr(0, kReadable));
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if ((c < 'a' || c > 'z') && (c < '0' || c > '9')) c = '-';
  }
  text.erase(0, std::min(text.find_first_not_of('-'), text.size()));
  while (text.ends_with('-')) text.pop_back();
  if (!text.empty()) text += '-';
  return text + Digest::of(name).to_hex().substr(0, kDigits);
}

std::string host_interface_of(const Attachment& attachment) {
  const bool first = attachment.ifname == kFirstInterface;
  if (!attachment.pod.empty()) {
    return workload_interface_name(attachment.ns,
                                   first ? attachment.pod : attachment.pod + "." + attachment.ifname);
  }
  // The first of a runtime's digits are nobody else's; the first letters of a name that somebody chose may be.
  const auto& id = attachment.container_id;
  const bool tell_apart =
      id.size() <= kNameDigits || id.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (first && tell_apart) return "cali" + id.substr(0, kNameDigits);
  return workload_interface_name(id, attachment.ifname);
}

template <class T>
json::array texts_of(const std::vector<T>& values) {
  json::array texts;
  for (const auto& value : values) texts.emplace_back(value.to_string());
  return texts;
}

}  // namespace

Attachment attachment_of(const Call& call, const std::string& node) {
  Attachment attachment;
  attachment.container_id = call.container_id;
  attachment.ifname = call.ifname;
  attachment.network = call.network;
  attachment.netns = call.netns;
  attachment.pod = argument(call, "K8S_POD_NAME");
  attachment.ns = argument(call, "K8S_POD_NAMESPACE");
  if (attachment.pod.empty() || attachment.ns.empty()) {
    attachment.pod.clear();
    attachment.ns = kDefaultNamespace;
  }
  attachment.addresses_alone = call.role == Role::kAddresses;
  if (!attachment.addresses_alone) {
    attachment.host_interface = host_interface_of(attachment);
    attachment.address_plugin = address_plugin_in(call.config);
  }
  attachment.handle = handle_name(call.network, call.container_id, call.ifname);
  const bool is_pod = !attachment.pod.empty();
  attachment.endpoint = {
      Kind::kWorkloadEndpoint, attachment.ns,
      workload_endpoint_name(node, is_pod ? "k8s" : "cni",
                             is_pod ? attachment.pod : documented_container(call.container_id),
                             documented(call.ifname))};
  return attachment;
}

std::string documented(std::string_view name) {
  return is_document_name(name) ? std::string(name) : coded(name);
}

std::string documented_container(std::string_view id) {
  constexpr std::ptrdiff_t kLongest = 128;  // beside the host's name and the interface's, in all 253
  const auto length = std::ssize(id) + std::ranges::count(id, '-');  // which is two in an endpoint's name
  const bool fits = is_document_name(id) && !id.contains('.') && length <= kLongest;
  return fits ? std::string(id) : coded(id);
}

std::string handle_name(const std::string& network, const std::string& container_id,
                        const std::string& ifname) {
  auto name = (is_handle(network) ? network : coded(network)) + "." + documented_container(container_id);
  if (ifname != kFirstInterface) name += "." + documented(ifname);
  return is_handle(name) ? name : coded(name);  // else it is too long
}

json::object to_json(const Attachment& attachment) {
  json::array nets;
  for (const auto& [length, gateway] : attachment.nets)
    nets.push_back(json::object{{"length", length}, {"gateway", gateway.to_string()}});
  return {{"phase", word_of(attachment.phase)},
          {"addressesAlone", attachment.addresses_alone},
          {"nets", std::move(nets)},
          {"routes", attachment.routes},
          {"containerID", attachment.container_id},
          {"ifname", attachment.ifname},
          {"network", attachment.network},
          {"namespace", attachment.ns},
          {"pod", attachment.pod},
          {"hostInterface", attachment.host_interface},
          {"handle", attachment.handle},
          {"endpoint",
           json::object{{"kind", info(attachment.endpoint.kind).name}, {"name", attachment.endpoint.name}}},
          {"addressPlugin", attachment.address_plugin},
          {"destinations", texts_of(attachment.destinations)},
          {"boot", attachment.boot},
          {"netns", attachment.netns},
          {"addresses", texts_of(attachment.addresses)},
          {"mac", attachment.mac.to_string()},
          {"mtu", attachment.mtu},
          {"followsMtu", attachment.follows_mtu},
          {"defaultTable4", attachment.default_tables[0]},
          {"defaultTable6", attachment.default_tables[1]},
          {"dns", attachment.dns}};
}

namespace {

Result<std::vector<Attachment::Net>> read_nets(const json::object& object) {
  TRY(const auto entries, fields::objects_at(object, "nets"));
  std::vector<Attachment::Net> nets;
  for (const auto* entry : entries) {
    TRY(const auto length, fields::integer_at(*entry, "length", 0, 128));
    TRY(const auto word, fields::string_at(*entry, "gateway"));
    const auto gateway = IpAddress::parse(word);
    if (!length || !gateway) return fail(ErrorCode::kInvalid, "nets: length or gateway are missing");
    nets.push_back({static_cast<std::uint8_t>(*length), *gateway});
  }
  return nets;
}

Result<std::vector<Prefix>> read_destinations(const json::object& object) {
  TRY(const auto words, fields::strings_at(object, "destinations"));
  std::vector<Prefix> destinations;
  for (const auto& word : words) {
    const auto net = Prefix::parse(word);
    if (!net) return fail(ErrorCode::kInvalid, "destinations: \"{}\" is no CIDR", word);
    destinations.push_back(*net);
  }
  return destinations;
}

// One written before there were any has none.
Result<std::array<std::uint32_t, 2>> read_tables(const json::object& object) {
  TRY(const auto v4, fields::integer_at(object, "defaultTable4", 0, kMostTable));
  TRY(const auto v6, fields::integer_at(object, "defaultTable6", 0, kMostTable));
  return std::array{static_cast<std::uint32_t>(v4.value_or(0)), static_cast<std::uint32_t>(v6.value_or(0))};
}

}  // namespace

Result<Attachment> read_attachment(std::string_view text) {
  boost::system::error_code error;
  const auto value = json::parse(text, error);
  const auto* object = error ? nullptr : value.if_object();
  if (object == nullptr) return fail(ErrorCode::kInvalid, "is not a JSON object");
  Attachment attachment;
  TRY(const auto phase, fields::string_at(*object, "phase"));
  const auto* known = std::ranges::find(kPhases, phase, &std::pair<Phase, std::string_view>::second);
  if (known == kPhases.end()) return fail(ErrorCode::kInvalid, "phase \"{}\" is not known", phase);
  attachment.phase = known->first;
  using Field = std::pair<std::string_view, std::string*>;
  for (const auto& [name, target] :
       {Field{"containerID", &attachment.container_id}, Field{"ifname", &attachment.ifname},
        Field{"network", &attachment.network}, Field{"namespace", &attachment.ns},
        Field{"pod", &attachment.pod}, Field{"hostInterface", &attachment.host_interface},
        Field{"handle", &attachment.handle}, Field{"boot", &attachment.boot},
        Field{"netns", &attachment.netns}, Field{"addressPlugin", &attachment.address_plugin}}) {
    TRY(const auto word, fields::string_at(*object, name));
    *target = word;
  }
  TRY(const auto* endpoint, fields::object_at(*object, "endpoint"));
  if (endpoint == nullptr) return fail(ErrorCode::kInvalid, "endpoint is missing");
  TRY(const auto kind, fields::string_at(*endpoint, "kind"));
  TRY(const auto name, fields::string_at(*endpoint, "name"));
  attachment.endpoint = {kind == info(Kind::kPod).name ? Kind::kPod : Kind::kWorkloadEndpoint, attachment.ns,
                         std::string(name)};
  TRY(const auto addresses, fields::strings_at(*object, "addresses"));
  for (const auto& word : addresses) {
    const auto address = IpAddress::parse(word);
    if (!address) return fail(ErrorCode::kInvalid, "addresses: \"{}\" is no IP address", word);
    attachment.addresses.push_back(*address);
  }
  TRY(attachment.destinations, read_destinations(*object));
  TRY(const auto mac, fields::string_at(*object, "mac"));
  attachment.mac = MacAddress::parse(mac).value_or(MacAddress{});
  TRY(const auto mtu, fields::integer_at(*object, "mtu", 0, 65535));
  attachment.mtu = static_cast<std::uint32_t>(mtu.value_or(0));
  TRY(attachment.follows_mtu, fields::bool_at(*object, "followsMtu"));
  TRY(attachment.default_tables, read_tables(*object));
  TRY(const auto* dns, fields::object_at(*object, "dns"));
  if (dns != nullptr) attachment.dns = *dns;
  TRY(attachment.addresses_alone, fields::bool_at(*object, "addressesAlone"));
  TRY(attachment.nets, read_nets(*object));
  TRY(const auto* routes, fields::array_at(*object, "routes"));
  if (routes != nullptr) attachment.routes = *routes;
  const bool has_interface = attachment.addresses_alone || is_interface_name(attachment.host_interface);
  if (!is_cni_name(attachment.container_id) || !is_interface_name(attachment.ifname) || !has_interface ||
      attachment.handle.empty() ||
      (attachment.addresses_alone && attachment.nets.size() != attachment.addresses.size()))
    return fail(ErrorCode::kInvalid, "names no container, interface or handle");
  return attachment;
}

namespace {

// What a plugin that asked for addresses is told (SPEC.md, section 5: no interfaces).
json::object addresses_of(const Attachment& attachment, Version version) {
  json::array ips;
  for (std::size_t i = 0; i < attachment.addresses.size(); ++i) {
    const auto& address = attachment.addresses[i];
    const auto& [length, gateway] = attachment.nets.at(i);
    json::object ip{{"address", Prefix{address, length}.to_string()}, {"gateway", gateway.to_string()}};
    if (version < Version::k100) ip["version"] = address.is_v4() ? "4" : "6";
    ips.push_back(std::move(ip));
  }
  return {{"cniVersion", to_string(version)},
          {"ips", std::move(ips)},
          {"routes", attachment.routes},
          {"dns", attachment.dns}};
}

// In the container by its interface: of each family that it has an address of, to everything or as it is.
json::array routes_of(const Attachment& attachment, Version version) {
  json::array routes;
  const auto add = [&](const std::string& destination, bool v4, std::uint32_t table) {
    json::object route{{"dst", destination}, {"gw", v4 ? kGateway : kGateway6}};
    if (version >= Version::k110 && table != 0) route["table"] = table;
    routes.push_back(std::move(route));
  };
  for (const auto family : kFamilies) {
    const bool v4 = family == Family::kIpv4;
    if (std::ranges::find(attachment.addresses, family, &IpAddress::family) == attachment.addresses.end())
      continue;
    const auto table = attachment.default_tables[v4 ? 0 : 1];
    if (attachment.destinations.empty()) add(v4 ? "0.0.0.0/0" : "::/0", v4, table);
    for (const auto& destination : attachment.destinations) {
      if (destination.family() == family)
        add(destination.to_string(), v4, destination.length == 0 ? table : 0);
    }
  }
  return routes;
}

}  // namespace

json::object result_of(const Attachment& attachment, Version version) {
  if (attachment.addresses_alone) return addresses_of(attachment, version);
  json::object outside{{"name", attachment.host_interface}, {"mac", kHostMac}};
  json::object inside{
      {"name", attachment.ifname}, {"mac", attachment.mac.to_string()}, {"sandbox", attachment.netns}};
  if (version >= Version::k110) {
    outside["mtu"] = attachment.mtu;
    inside["mtu"] = attachment.mtu;
  }
  json::array ips;
  for (const auto& address : attachment.addresses) {
    json::object ip{{"address", Prefix::host(address).to_string()}, {"interface", 1}};
    if (version < Version::k100) ip["version"] = address.is_v4() ? "4" : "6";
    ips.push_back(std::move(ip));
  }
  return {{"cniVersion", to_string(version)},
          {"interfaces", json::array{std::move(outside), std::move(inside)}},
          {"ips", std::move(ips)},
          {"routes", routes_of(attachment, version)},
          {"dns", attachment.dns}};
}

json::object behind(json::object previous, json::object own) {
  if (previous.empty()) return own;
  const auto list = [&](std::string_view name) -> json::array& {
    auto& value = previous[name];
    return value.is_array() ? value.get_array() : value.emplace_array();
  };
  const auto others = static_cast<std::int64_t>(list("interfaces").size());
  for (auto& ip : own["ips"].as_array()) {
    auto& interface = ip.as_object()["interface"];
    interface = interface.as_int64() + others;
  }
  for (const auto* name : {"interfaces", "ips", "routes"}) {
    auto& all = list(name);
    for (auto& item : own[name].as_array()) all.push_back(std::move(item));
  }
  previous["cniVersion"] = own["cniVersion"];
  if (!own["dns"].as_object().empty() || !previous["dns"].is_object())
    previous["dns"] = std::move(own["dns"]);
  return previous;
}

}  // namespace ocicat::cni
