#include "cni/wishes.h"

#include <algorithm>
#include <boost/json.hpp>

#include "resources/fields.h"
#include "resources/qos.h"

namespace ocicat::cni {
namespace {

namespace json = boost::json;

std::string full(std::string_view name) {
  return fmt::format("cni.projectcalico.org/{}", name);
}

std::unexpected<Failure> wrong(std::string_view whose, std::string_view name, std::string_view what) {
  return refuse(
      FailureCode::kInvalidConfiguration, "an annotation is wrong",
      fmt::format("annotation {} of the {} {}; correct it with: ocicat apply", full(name), whose, what));
}

const std::string* find(const Labels& annotations, std::string_view name) {
  const auto at = annotations.find(full(name));
  return at == annotations.end() || at->second.empty() ? nullptr : &at->second;
}

// An annotation that is a JSON list of texts.
Outcome<std::vector<std::string>> read_list(std::string_view whose, std::string_view name,
                                            std::string_view text) {
  boost::system::error_code error;
  const auto value = json::parse(text, error);
  const auto* list = error ? nullptr : value.if_array();
  if (list == nullptr) return wrong(whose, name, "must be a JSON list, such as [\"…\"]");
  std::vector<std::string> texts;
  for (const auto& entry : *list) {
    const auto word = fields::text_of(entry);
    if (!word || word->empty()) return wrong(whose, name, "must be a JSON list of texts");
    texts.emplace_back(*word);
  }
  return texts;
}

Outcome<std::vector<IpAddress>> read_addresses(std::string_view name, std::string_view text) {
  TRY(const auto texts, read_list("pod", name, text));
  std::vector<IpAddress> addresses;
  for (const auto& word : texts) {
    const auto address = Prefix::parse(word, true);
    if (!address) return wrong("pod", name, fmt::format("has \"{}\", which is no IP address", word));
    addresses.push_back(address->address);
  }
  return addresses;
}

// Of one family: the pod's own wish, else its namespace's, else the configuration's.
Outcome<std::vector<std::string>> pools(std::string_view name, const std::vector<std::string>& otherwise,
                                        const Labels& pod, const Labels& ns) {
  if (const auto* text = find(pod, name)) return read_list("pod", name, *text);
  if (const auto* text = find(ns, name)) return read_list("namespace", name, *text);
  return otherwise;
}

// Without annotations about pools, which are of Calico's address management alone, as with Calico.
Outcome<void> take_given(const Configuration& configuration, const Labels& pod, Wishes& wishes) {
  if (find(pod, "ipAddrs") != nullptr) {
    return refuse(
        FailureCode::kUnsupportedField, "an annotation asks for what is not there",
        fmt::format("annotation {} of the pod asks for addresses from pools, and {} gives those of this "
                    "network; take it out with: ocicat apply",
                    full("ipAddrs"), configuration.address_plugin));
  }
  wishes.ipv4 = wishes.ipv6 = false;
  wishes.without_ipam = wishes.by_plugin = true;
  if (configuration.given) wishes.addresses = configuration.given->addresses;
  return {};
}

Outcome<void> choose_addresses(const Configuration& configuration, const Labels& pod, Wishes& wishes) {
  if (!configuration.address_plugin.empty() && find(pod, "ipAddrsNoIpam") == nullptr)
    return take_given(configuration, pod, wishes);
  wishes.addresses = configuration.addresses;
  for (const auto& address : wishes.addresses) (address.is_v4() ? wishes.ipv4 : wishes.ipv6) = false;
  const auto only = [&](std::vector<IpAddress> addresses) {
    wishes.addresses = std::move(addresses);
    wishes.ipv4 = wishes.ipv6 = false;
  };
  if (const auto* text = find(pod, "ipAddrs")) {
    TRY(auto addresses, read_addresses("ipAddrs", *text));
    only(std::move(addresses));
  }
  if (const auto* text = find(pod, "ipAddrsNoIpam")) {
    if (find(pod, "ipAddrs") != nullptr) return wrong("pod", "ipAddrsNoIpam", "excludes ipAddrs");
    if (!configuration.addresses_without_ipam) {
      return refuse(
          FailureCode::kUnsupportedField, "addresses beside IPAM are not allowed",
          fmt::format(
              "annotation cni.projectcalico.org/ipAddrsNoIpam needs feature_control.ip_addrs_no_ipam in {}",
              kNetworkFile));
    }
    TRY(auto addresses, read_addresses("ipAddrsNoIpam", *text));
    only(std::move(addresses));
    wishes.without_ipam = true;
  }
  if (wishes.addresses.empty() && !wishes.ipv4 && !wishes.ipv6)
    return wrong("pod", "ipAddrs", "names no address");
  std::array<int, 2> count{};
  for (const auto& address : wishes.addresses) ++count[address.is_v4() ? 0 : 1];
  if (std::ranges::any_of(count, [](int n) { return n > 1; })) {
    for (const auto* name : {"ipAddrs", "ipAddrsNoIpam"}) {
      if (find(pod, name) != nullptr)
        return wrong("pod", name, "names several addresses of one family, and there can be one");
    }
    return refuse(FailureCode::kInvalidConfiguration, "too many addresses are asked for",
                  fmt::format("at most one of each family may be named; correct args.cni.ips in {}, or "
                              "runtimeConfig.ips or IP= of the runtime",
                              kNetworkFile));
  }
  return {};
}

// As the kernel has it (RFC 8200, section 5), which would say that IPv6 is no family it knows.
Outcome<void> check_mtu(const Configuration& configuration, const Wishes& wishes) {
  constexpr std::uint32_t kLeast = 1280;
  if (!configuration.mtu || *configuration.mtu >= kLeast || !wishes.has(Family::kIpv6)) return {};
  return refuse(FailureCode::kInvalidConfiguration, "the MTU is too small for IPv6",
                fmt::format("mtu is {}, and an interface with an IPv6 address needs {} at least; correct {}",
                            *configuration.mtu, kLeast, kNetworkFile));
}

// In Calico's way: nobody has them by an annotation alone.
Outcome<void> choose_floating(const Configuration& configuration, const Labels& pod, Wishes& wishes) {
  const auto* text = find(pod, "floatingIPs");
  if (text == nullptr) return {};
  if (!configuration.floating_addresses) {
    return refuse(
        FailureCode::kUnsupportedField, "floating addresses are not allowed",
        fmt::format("annotation cni.projectcalico.org/floatingIPs needs feature_control.floating_ips in {}, "
                    "and floatingIPs: Enabled in FelixConfiguration; see: ocicat get felixconfiguration "
                    "default -o yaml",
                    kNetworkFile));
  }
  TRY(wishes.floating, read_addresses("floatingIPs", *text));
  for (const auto& address : wishes.floating) {
    if (wishes.has(address.family())) continue;
    return wrong("pod", "floatingIPs",
                 fmt::format("has \"{}\", and the pod is to have no {} address", address.to_string(),
                             address.is_v4() ? "IPv4" : "IPv6"));
  }
  return {};
}

// What annotations say of a direction counts over the runtime, which may have it from there.
Outcome<std::map<std::string, std::int64_t>> limits(const Configuration& configuration, const Labels& pod) {
  auto asked = qos_of_annotations(pod);
  if (!asked.unreadable.empty()) {
    return refuse(FailureCode::kInvalidConfiguration, "an annotation is wrong",
                  fmt::format("annotation {}; correct it with: ocicat apply", asked.unreadable));
  }
  for (const std::string direction : {"ingress", "egress"}) {
    if (asked.numbers.contains(direction + "Bandwidth")) continue;
    for (const auto& [name, number] : configuration.limits) {
      if (name.starts_with(direction)) asked.numbers.emplace(name, number);
    }
  }
  return asked.numbers;
}

}  // namespace

bool Wishes::has(Family family) const {
  if (family == Family::kIpv4 ? ipv4 : ipv6) return true;
  return std::ranges::any_of(addresses, [&](const auto& address) { return address.family() == family; });
}

Outcome<Wishes> settle_addresses(const Configuration& configuration, const Labels& pod_annotations,
                                 const Labels& namespace_annotations) {
  Wishes wishes{.ipv4 = configuration.ipv4, .ipv6 = configuration.ipv6, .mac = configuration.mac};
  TRY(wishes.pools.ipv4,
      pools("ipv4pools", configuration.ipv4_pools, pod_annotations, namespace_annotations));
  TRY(wishes.pools.ipv6,
      pools("ipv6pools", configuration.ipv6_pools, pod_annotations, namespace_annotations));
  TRY_VOID(choose_addresses(configuration, pod_annotations, wishes));
  return wishes;
}

Outcome<Wishes> settle(const Configuration& configuration, const Labels& pod_annotations,
                       const Labels& namespace_annotations) {
  TRY(auto wishes, settle_addresses(configuration, pod_annotations, namespace_annotations));
  if (wishes.by_plugin && wishes.addresses.empty())
    return wishes;  // of which families there will be is not known yet
  TRY_VOID(check_mtu(configuration, wishes));
  TRY_VOID(choose_floating(configuration, pod_annotations, wishes));
  TRY(wishes.qos, limits(configuration, pod_annotations));
  if (const auto* text = find(pod_annotations, "hwAddr")) {
    wishes.mac = MacAddress::parse(*text);
    if (!wishes.mac || !wishes.mac->is_of_one_interface())
      return wrong("pod", "hwAddr",
                   fmt::format("is \"{}\", which is no MAC address of one interface", *text));
  }
  if (const auto* text = find(pod_annotations, "allowedSourcePrefixes")) {
    TRY(wishes.source_prefixes, read_list("pod", "allowedSourcePrefixes", *text));
    for (const auto& prefix : wishes.source_prefixes) {
      if (!Prefix::parse(prefix, true))
        return wrong("pod", "allowedSourcePrefixes", fmt::format("has \"{}\", which is no CIDR", prefix));
    }
  }
  return wishes;
}

}  // namespace ocicat::cni
