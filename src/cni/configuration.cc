#include "cni/configuration.h"

#include <array>
#include <boost/json.hpp>
#include <limits>

#include "cni/attachment.h"
#include "cni/delegation.h"
#include "resources/fields.h"
#include "resources/number_or_string.h"

namespace ocicat::cni {
namespace {

namespace json = boost::json;

constexpr std::int64_t kMostMtu = 65535, kLeastMtu = 68;
constexpr std::int64_t kMostQueues = 4096;  // IFLA_NUM_TX_QUEUES: what the kernel takes
constexpr std::int64_t kMostSeconds = 3600;
constexpr std::int64_t kMostInterfaces = 65535;  // of a result
constexpr std::size_t kMostGates = 16;           // each may take seconds
constexpr std::size_t kMostGiven = 16;           // addresses, and routes, of another plugin

std::unexpected<Failure> wrong(const Error& error) {
  return refuse(FailureCode::kInvalidConfiguration, "the network configuration is wrong",
                fmt::format("{}; correct {}", error.message, kNetworkFile));
}

std::unexpected<Failure> unsupported(std::string what) {
  return refuse(FailureCode::kUnsupportedField, "the network configuration asks for what is not there",
                fmt::format("{}; take it out of {}", what, kNetworkFile));
}

template <class T>
Outcome<T> checked(Result<T> result) {
  if (!result) return wrong(result.error());
  return *std::move(result);
}

// The object of that name, or an empty one.
Result<const json::object*> part_of(const json::object& object, std::string_view name) {
  static const json::object empty;
  TRY(const auto* part, fields::object_at(object, name));
  return part == nullptr ? &empty : part;
}

// Calico's files say "true" as well as true.
Result<bool> flag_at(const json::object& object, std::string_view name, bool otherwise) {
  const auto* value = fields::find(object, name);
  if (value == nullptr) return otherwise;
  if (const auto* flag = value->if_bool()) return *flag;
  const auto text = fields::text_of(*value);
  if (text == "true") return true;
  if (text == "false") return false;
  return fields::wrong(name, *value, "must be true or false");
}

Result<IpAddress> address_of(std::string_view text) {
  const auto prefix = Prefix::parse(text, true);
  if (!prefix) return fail(ErrorCode::kInvalid, "\"{}\": must be an IP address", text);
  return prefix->address;
}

Result<void> read_addresses(const json::object& object, std::string_view name, Configuration& configuration) {
  TRY(const auto texts, fields::strings_at(object, name));
  for (const auto& text : texts) {
    const auto address = address_of(text);
    if (!address) return fields::inside(name, address.error());
    configuration.addresses.push_back(*address);
  }
  return {};
}

Result<MacAddress> mac_of(std::string_view text) {
  const auto mac = MacAddress::parse(text);
  if (!mac || !mac->is_of_one_interface()) {
    return fail(ErrorCode::kInvalid,
                "\"{}\": must be six pairs of hexadecimal digits between colons, and of one interface", text);
  }
  return *mac;
}

Result<void> read_ipam(const json::object& config, Configuration& configuration) {
  TRY(const auto* ipam, part_of(config, "ipam"));
  const auto read = [&]() -> Result<void> {
    TRY(configuration.ipv4, flag_at(*ipam, "assign_ipv4", true));
    TRY(configuration.ipv6, flag_at(*ipam, "assign_ipv6", false));
    TRY(configuration.ipv4_pools, fields::strings_at(*ipam, "ipv4_pools"));
    TRY(configuration.ipv6_pools, fields::strings_at(*ipam, "ipv6_pools"));
    return {};
  };
  if (auto done = read(); !done) return fields::inside("ipam", done.error());
  return {};
}

// Handed through to the container, whose plugin reads them.
Result<void> read_routes(const json::object& config, Configuration& configuration) {
  TRY(const auto* ipam, part_of(config, "ipam"));
  TRY(const auto routes, fields::objects_at(*ipam, "routes"));
  for (std::size_t i = 0; i < routes.size(); ++i) {
    const auto destination = fields::string_at(*routes[i], "dst");
    if (!destination) return fields::inside("ipam.routes", i, destination.error());
    if (!Prefix::parse(*destination))
      return fields::inside("ipam.routes", i,
                            fields::wrong("dst", json::value(*destination), "must be a CIDR").error());
    configuration.routes.emplace_back(*routes[i]);
  }
  return {};
}

Outcome<void> check_supported_addresses(const json::object& config) {
  TRY(const auto* ipam, checked(part_of(config, "ipam")));
  TRY(const auto type, checked(fields::string_at(*ipam, "type")));
  if (type != kAddressesPlugin) {
    return wrong({ErrorCode::kInvalid,
                  fmt::format("ipam.type is \"{}\", and {} was started", type, kAddressesPlugin)});
  }
  for (const auto* name : {"subnet", "ranges", "rangeStart", "rangeEnd", "gateway"}) {
    if (fields::find(*ipam, name) != nullptr)
      return unsupported(fmt::format("ipam.{} belongs to host-local address management", name));
  }
  return {};
}

Outcome<void> check_address_management(const json::object& config, const Configuration& configuration) {
  TRY(const auto* ipam, checked(part_of(config, "ipam")));
  TRY_VOID(checked(fields::string_at(*ipam, "type")));
  const auto& plugin = configuration.address_plugin;
  if (plugin == kAddressesPlugin)
    return unsupported(
        fmt::format("ipam.type is \"{}\", which is for plugins of others: here \"calico-ipam\" gives "
                    "addresses from pools",
                    plugin));
  if (!plugin.empty() && !is_cni_name(plugin))
    return unsupported(fmt::format("ipam.type is \"{}\", which is no plugin's name", plugin));
  if (plugin.empty() && fields::find(*ipam, "subnet") != nullptr)
    return unsupported("ipam.subnet belongs to host-local address management");
  return {};
}

Outcome<void> check_supported(const json::object& config, const Configuration& configuration) {
  TRY_VOID(check_address_management(config, configuration));
  TRY(const auto device, checked(fields::string_at(config, "device_type")));
  if (!device.empty() && device != "veth")
    return unsupported(fmt::format("device_type is \"{}\", and there is veth alone", device));
  return {};
}

Result<GivenAddresses> read_given(const json::object& result) {
  GivenAddresses given;
  TRY(const auto ips, fields::objects_at(result, "ips"));
  for (const auto* ip : ips) {
    TRY(const auto text, fields::string_at(*ip, "address"));
    TRY(const auto address, address_of(text));
    if (std::ranges::find(given.addresses, address) != given.addresses.end())
      return fail(ErrorCode::kInvalid, "ips: {} is there twice", address.to_string());
    given.addresses.push_back(address);
  }
  TRY(const auto routes, fields::objects_at(result, "routes"));
  for (const auto* route : routes) {
    TRY(const auto text, fields::string_at(*route, "dst"));
    const auto destination = Prefix::parse(text);
    if (!destination) return fail(ErrorCode::kInvalid, "routes: \"{}\" is no CIDR", text);
    given.destinations.push_back(destination->masked());
  }
  if (given.addresses.empty()) return fail(ErrorCode::kInvalid, "ips: no address is there");
  if (std::max(given.addresses.size(), given.destinations.size()) > kMostGiven)
    return fail(ErrorCode::kInvalid, "more than {} addresses or routes are there", kMostGiven);
  TRY(const auto* dns, part_of(result, "dns"));
  given.dns = *dns;
  return given;
}

// Of a call whose addresses another plugin gave. Its routes lead by our gateways, whatever gateways it names: the
// container has a link to its host alone.
Outcome<void> read_delegated(const Call& call, Configuration& configuration) {
  if (!call.given) return {};
  auto given = read_given(*call.given);
  if (!given) {
    return refuse(
        FailureCode::kAddressPlugin,
        fmt::format("{} gives what cannot be used", configuration.address_plugin),
        fmt::format("{}; what it is told stands under ipam in {}", given.error().message, kNetworkFile));
  }
  auto& destinations = given->destinations;
  if (configuration.default_routes && !destinations.empty()) {
    for (const auto* text : {"0.0.0.0/0", "::/0"}) {
      const auto everything = *Prefix::parse(text);
      if (std::ranges::find(destinations, everything) == destinations.end())
        destinations.push_back(everything);
    }
  }
  if (configuration.dns.empty()) configuration.dns = given->dns;
  configuration.given = *std::move(given);
  return {};
}

Result<void> read_wiring(const json::object& config, Configuration& configuration) {
  TRY(const auto node, fields::string_at(config, "nodename"));
  configuration.node = node;
  TRY(const auto mtu, fields::integer_at(config, "mtu", 0, kMostMtu));
  if (mtu && *mtu != 0) {
    if (*mtu < kLeastMtu) return fields::wrong("mtu", "is less than any packet needs");
    configuration.mtu = static_cast<std::uint32_t>(*mtu);
  }
  TRY(const auto queues, fields::integer_at(config, "num_queues", 1, kMostQueues));
  configuration.queues = static_cast<std::uint32_t>(queues.value_or(1));
  TRY(const auto timeout, fields::integer_at(config, "policy_setup_timeout_seconds", 0, kMostSeconds));
  if (timeout && *timeout > 0) configuration.policy_timeout = std::chrono::seconds(*timeout);
  TRY(configuration.readiness_gates, fields::strings_at(config, "readiness_gates"));
  if (configuration.readiness_gates.size() > kMostGates)
    return fields::wrong("readiness_gates", fmt::format("are more than {}", kMostGates));
  TRY(const auto* features, part_of(config, "feature_control"));
  TRY(configuration.addresses_without_ipam, flag_at(*features, "ip_addrs_no_ipam", false));
  TRY(configuration.floating_addresses, flag_at(*features, "floating_ips", false));
  TRY(const auto* settings, part_of(config, "container_settings"));
  TRY(configuration.ip_forwarding, flag_at(*settings, "allow_ip_forwarding", false));
  TRY(configuration.default_routes, flag_at(config, "include_default_routes", false));
  TRY(const auto* dns, part_of(config, "dns"));
  configuration.dns = *dns;
  return {};
}

Result<void> read_ports(const json::object& args, Configuration& configuration) {
  TRY(const auto ports, fields::objects_at(args, "ports"));
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const auto read = [&]() -> Result<EndpointPort> {
      EndpointPort port;
      TRY(port.name, fields::string_at(*ports[i], "name"));
      TRY(const auto number, fields::integer_at(*ports[i], "port", 1, 65535));
      const auto* protocol = fields::find(*ports[i], "protocol");
      if (port.name.empty() || !number) return fields::wrong("name, port", "both must be there");
      port.port = static_cast<std::uint16_t>(*number);
      if (protocol == nullptr) return port;
      TRY(const auto match, read_protocol(*protocol));
      port.protocol = match.number;
      return port;
    };
    auto port = read();
    if (!port) return fields::inside("ports", i, port.error());
    configuration.ports.push_back(*std::move(port));
  }
  return {};
}

// CONVENTIONS.md: labels are a list of {"key","value"}.
Result<Labels> read_labels(const json::object& args) {
  TRY(const auto entries, fields::objects_at(args, "labels"));
  Labels::sequence_type labels;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto key = fields::string_at(*entries[i], "key");
    if (!key) return fields::inside("labels", i, key.error());
    const auto value = fields::string_at(*entries[i], "value");
    if (!value) return fields::inside("labels", i, value.error());
    labels.emplace_back(std::string(*key), std::string(*value));
  }
  return fields::labels_from(std::move(labels));
}

Result<void> read_arguments(const json::object& config, Configuration& configuration) {
  TRY(const auto* args, part_of(config, "args"));
  TRY(const auto* common, part_of(*args, "cni"));
  TRY(configuration.labels, read_labels(*common));
  TRY_VOID(read_addresses(*common, "ips", configuration));
  TRY(const auto* ours, part_of(*args, "ocicat"));
  TRY(configuration.annotations, fields::labels_at(*ours, "annotations"));
  TRY(configuration.service_account, fields::string_at(*ours, "serviceAccount"));
  return read_ports(*ours, configuration);
}

// CONVENTIONS.md: bits a second, and bits; 0 is no limit.
Result<void> read_bandwidth(const json::object& runtime, Configuration& configuration) {
  TRY(const auto* bandwidth, part_of(runtime, "bandwidth"));
  using Name = std::pair<std::string_view, const char*>;
  for (const auto& [theirs, name] :
       {Name{"ingressRate", "ingressBandwidth"}, Name{"ingressBurst", "ingressBurst"},
        Name{"egressRate", "egressBandwidth"}, Name{"egressBurst", "egressBurst"}}) {
    const auto number = fields::integer_at(*bandwidth, theirs, 0, std::numeric_limits<std::int64_t>::max());
    if (!number) return fields::inside("runtimeConfig.bandwidth", number.error());
    if (number->value_or(0) != 0) configuration.limits.emplace(name, **number);
  }
  return {};
}

Result<void> read_capabilities(const json::object& config, Configuration& configuration) {
  TRY(const auto* runtime, part_of(config, "runtimeConfig"));
  TRY_VOID(read_addresses(*runtime, "ips", configuration));
  TRY_VOID(read_bandwidth(*runtime, configuration));
  TRY(const auto mac, fields::string_at(*runtime, "mac"));
  if (mac.empty()) return {};
  TRY(configuration.mac, mac_of(mac));
  return {};
}

// CNI_ARGS: those that are known, and no other unless told to pass others over.
Outcome<void> read_words(const Call& call, Configuration& configuration) {
  const auto ignore = call.args.find("IgnoreUnknown");
  const bool ignores = ignore != call.args.end() && (ignore->second == "1" || ignore->second == "true");
  constexpr std::array<std::string_view, 5> kKnown{"IgnoreUnknown", "K8S_POD_NAME", "K8S_POD_NAMESPACE",
                                                   "K8S_POD_INFRA_CONTAINER_ID", "K8S_POD_UID"};
  const auto wrong_word = [](std::string_view key, std::string_view why) {
    return refuse(
        FailureCode::kInvalidEnvironment, "the environment of the call is wrong",
        fmt::format("CNI_ARGS: {}: {}; a container runtime sets this; see: journalctl -u containerd -u crio",
                    key, why));
  };
  for (const auto& [key, value] : call.args) {
    if (key == "IP") {
      const auto address = address_of(value);
      if (!address) return wrong_word(key, address.error().message);
      configuration.addresses.push_back(*address);
    } else if (key == "MAC" && call.role == Role::kNetwork) {
      const auto mac = mac_of(value);
      if (!mac) return wrong_word(key, mac.error().message);
      configuration.mac = *mac;
    } else if (call.role == Role::kAddresses) {
      continue;  // for the plugin that wires the container
    } else if (!ignores && std::ranges::find(kKnown, key) == kKnown.end()) {
      return wrong_word(key, "is not known, and IgnoreUnknown=1 is not given");
    }
  }
  return {};
}

}  // namespace

Outcome<Configuration> read_configuration(const Call& call) {
  const bool wires = call.role == Role::kNetwork;
  Configuration configuration;
  if (wires) configuration.address_plugin = address_plugin_in(call.config);
  const bool delegates = !configuration.address_plugin.empty();
  const auto read = [&]() -> Result<void> {
    if (!delegates) TRY_VOID(read_ipam(call.config, configuration));
    if (wires) TRY_VOID(read_wiring(call.config, configuration));
    if (!wires) TRY_VOID(read_routes(call.config, configuration));
    TRY_VOID(read_arguments(call.config, configuration));
    return read_capabilities(call.config, configuration);
  };
  TRY_VOID(wires ? check_supported(call.config, configuration) : check_supported_addresses(call.config));
  if (const auto done = read(); !done) return wrong(done.error());
  TRY_VOID(read_words(call, configuration));
  if (delegates) {
    configuration.addresses.clear();  // that plugin is asked for them
    TRY_VOID(read_delegated(call, configuration));
  }
  if (!configuration.ipv4 && !configuration.ipv6)
    return wrong({ErrorCode::kInvalid, "ipam: assign_ipv4 and assign_ipv6 are both false"});
  return configuration;
}

Outcome<std::set<std::string>> valid_attachments(const Call& call) {
  constexpr std::string_view kKey = "cni.dev/valid-attachments";
  constexpr std::string_view kKeyOfOldRuntimes = "cni.dev/attachments";  // libcni 1.2.0 to 1.2.2
  const auto key = call.config.contains(kKey) ? kKey : kKeyOfOldRuntimes;
  if (!call.config.contains(key))
    return wrong({ErrorCode::kInvalid, fmt::format("{}: required for GC, and missing", kKey)});
  // Of no attachments libcni makes null.
  TRY(const auto entries, checked(fields::objects_at(call.config, key)));
  std::set<std::string> valid;
  for (const auto* entry : entries) {
    Call of;
    TRY(of.container_id, checked(fields::string_at(*entry, "containerID")));
    TRY(of.ifname, checked(fields::string_at(*entry, "ifname")));
    // Half of a name would take from somebody what is his.
    if (of.container_id.empty() || of.ifname.empty())
      return wrong({ErrorCode::kInvalid, fmt::format("{}: an entry has no containerID or no ifname", key)});
    valid.insert(of.attachment());
    valid.insert(documented_container(of.container_id) + "@" + documented(of.ifname));
  }
  return valid;
}

Outcome<PreviousResult> previous_result(const Call& call) {
  TRY(const auto* result, checked(fields::object_at(call.config, "prevResult")));
  if (result == nullptr) return wrong({ErrorCode::kInvalid, "prevResult: required for CHECK, and missing"});
  PreviousResult previous;
  TRY(const auto interfaces, checked(fields::objects_at(*result, "interfaces")));
  std::optional<std::int64_t> own;  // its place among them
  for (std::size_t i = 0; i < interfaces.size(); ++i) {
    TRY(const auto name, checked(fields::string_at(*interfaces[i], "name")));
    TRY(const auto sandbox, checked(fields::string_at(*interfaces[i], "sandbox")));
    if (sandbox.empty()) previous.host_interfaces.emplace(name);
    if (sandbox.empty() || name != call.ifname) continue;
    own = static_cast<std::int64_t>(i);
    TRY(const auto mac, checked(fields::string_at(*interfaces[i], "mac")));
    if (!mac.empty()) {
      TRY(previous.mac, checked(mac_of(mac)));
    }
  }
  previous.has_interface = own.has_value();
  TRY(const auto entries, checked(fields::objects_at(*result, "ips")));
  for (const auto* entry : entries) {
    TRY(const auto interface, checked(fields::integer_at(*entry, "interface", 0, kMostInterfaces)));
    if (interface && interface != own) continue;
    TRY(const auto text, checked(fields::string_at(*entry, "address")));
    TRY(const auto address, checked(address_of(text)));
    previous.addresses.push_back(address);
  }
  return previous;
}

Outcome<json::object> chained_result(const Call& call) {
  TRY(const auto* result, checked(fields::object_at(call.config, "prevResult")));
  if (result == nullptr) return json::object{};
  for (const auto* name : {"interfaces", "ips", "routes"})
    TRY_VOID(checked(fields::objects_at(*result, name)));
  TRY_VOID(checked(fields::object_at(*result, "dns")));
  return *result;
}

}  // namespace ocicat::cni
