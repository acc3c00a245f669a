#include "test/support/random_rules.h"

#include <fmt/format.h>

namespace ocicat::test {

namespace {

std::string leaf(Random& random, const std::vector<std::string>& labels) {
  const auto& label = random.pick(labels);
  const auto& value = random.pick(names::kValues);
  switch (random.below(9)) {
    case 0:
      return fmt::format("{} != '{}'", label, value);
    case 1:
      return fmt::format("{} in {{'{}', '{}'}}", label, value, random.pick(names::kValues));
    case 2:
      return fmt::format("{} not in {{'{}'}}", label, value);
    case 3:
      return fmt::format("has({})", label);
    case 4:
      return fmt::format("{} starts with '{}'", label, value);
    case 5:
      return "all()";
    default:
      return fmt::format("{} == '{}'", label, value);
  }
}

std::string expression(Random& random, const std::vector<std::string>& labels, int depth) {
  if (depth == 0 || random.percent(55)) return leaf(random, labels);
  const auto left = expression(random, labels, depth - 1);
  if (random.percent(30)) return fmt::format("!({})", left);
  const auto right = expression(random, labels, depth - 1);
  return fmt::format("({} {} {})", left, random.percent(50) ? "&&" : "||", right);
}

Prefix prefix(const char* text) {
  return *Prefix::parse(text);
}

std::vector<Prefix> random_nets(Random& random) {
  // One family, as validation wants it, but for a few.
  const bool mixed = random.percent(5);
  const auto family = random.percent(60) ? Family::kIpv4 : Family::kIpv6;
  std::vector<Prefix> nets;
  for (const auto& net : known_prefixes()) {
    if ((mixed || net.family() == family) && random.percent(30)) nets.push_back(net);
  }
  return nets;
}

PortRange random_range(Random& random) {
  static const std::vector<PortRange> kRanges{{80, 80},   {80, 81},       {82, 90},   {1, 79},
                                              {443, 443}, {8080, 8090},   {1, 65535}, {65535, 65535},
                                              {53, 53},   {1000, 60'000}, {85, 8085}};
  return random.pick(kRanges);
}

std::vector<Port> random_ports(Random& random, bool numbers) {
  std::vector<Port> ports;
  const auto wanted = 1 + random.below(3);
  while (ports.size() < wanted) {
    if (!numbers || random.percent(35)) {
      ports.emplace_back(random.pick(names::kPortNames));
    } else {
      ports.emplace_back(random_range(random));
    }
  }
  return ports;
}

std::optional<ProtocolMatch> random_protocol(Random& random) {
  static const std::vector<ProtocolMatch> kProtocols{
      {kTcp, false},  {kTcp, false}, {kTcp, false},   {kUdp, false},    {kUdp, false},
      {kSctp, false}, {kIcmp, true}, {kIcmpV6, true}, {kIcmp, false},   {kIcmpV6, false},
      {47, false},    {255, false},  {1, false},      {kUdpLite, false}};
  if (random.percent(30)) return std::nullopt;
  return random.pick(kProtocols);
}

IcmpMatch random_icmp(Random& random) {
  static const std::vector<std::uint8_t> kTypes{0, 8, 128, 254};
  IcmpMatch icmp;
  if (random.percent(90)) icmp.type = random.pick(kTypes);
  if (icmp.type && random.percent(40)) icmp.code = static_cast<std::uint8_t>(random.below(2) * 255);
  return icmp;
}

void add_ports(Random& random, const std::optional<ProtocolMatch>& protocol, Rule& rule) {
  const bool with_ports = protocol && has_ports(protocol->number);
  if (!with_ports && protocol && !random.percent(2)) return;
  const auto chance = protocol ? 45U : 8U;
  const bool numbers = protocol || random.percent(2);
  if (random.percent(chance)) rule.destination.ports = random_ports(random, numbers);
  if (random.percent(chance / 4)) rule.destination.not_ports = random_ports(random, numbers);
  if (random.percent(chance / 4)) rule.source.ports = random_ports(random, numbers);
  if (random.percent(chance / 6)) rule.source.not_ports = random_ports(random, numbers);
}

// Limits a side by labels. Rarely with a text that is no selector.
void add_selectors(Random& random, EntityRule& side) {
  if (random.percent(40)) side.selector = random.percent(1) ? "role ==" : random_selector(random);
  if (random.percent(12)) side.not_selector = random_selector(random);
  if (random.percent(20)) {
    side.namespace_selector = random.percent(20) ? "global()" : random_parent_selector(random);
  }
  if (random.percent(10)) {
    auto& accounts = side.service_accounts.emplace();
    accounts.names = random.some(names::kServiceAccounts, 2);
    if (random.percent(50)) accounts.selector = random_parent_selector(random);
  }
}

EntityRule random_side(Random& random) {
  EntityRule side;
  if (random.percent(5)) {
    // Of the policy's own namespace, or of this one; one of them without slices, for most of the time.
    side.services = ServiceMatch{random.pick(names::kServices), random.percent(50) ? "" : "shop"};
    return side;
  }
  if (random.percent(60)) add_selectors(random, side);
  if (random.percent(18)) side.nets = random_nets(random);
  if (random.percent(10)) side.not_nets = random_nets(random);
  return side;
}

Action random_action(Random& random) {
  static const std::vector<Action> kActions{Action::kAllow, Action::kAllow, Action::kAllow, Action::kAllow,
                                            Action::kDeny,  Action::kDeny,  Action::kPass,  Action::kLog};
  return random.pick(kActions);
}

}  // namespace

const std::vector<Prefix>& known_prefixes() {
  static const std::vector<Prefix> kPrefixes{
      prefix("0.0.0.0/0"),      prefix("10.0.0.0/8"),         prefix("10.65.0.0/24"),
      prefix("10.65.0.0/30"),   prefix("10.65.0.6/30"),       prefix("10.65.0.5/32"),
      prefix("192.0.2.0/24"),   prefix("255.255.255.255/32"), prefix("::/0"),
      prefix("fd00:65::/64"),   prefix("fd00:65::/126"),      prefix("fd00:65::6/126"),
      prefix("fd00:65::5/128"), prefix("2001:db8::/32"),
  };
  return kPrefixes;
}

IpAddress random_address(Random& random, Family family) {
  // Few, so that endpoints share some.
  const auto host = static_cast<std::uint8_t>(1 + random.below(9));
  if (family == Family::kIpv4) return IpAddress::v4(0x0a410000U + host);
  IpAddress::Bytes bytes{0xfd, 0x00, 0x00, 0x65};
  bytes[15] = host;
  return IpAddress::v6(bytes);
}

std::string random_selector(Random& random) {
  static const std::vector<std::string> kLabels = [] {
    auto labels = names::kLabels;
    labels.insert(labels.end(), {"pcns.env", "role"});
    return labels;
  }();
  return expression(random, kLabels, 2);
}

std::string random_parent_selector(Random& random) {
  if (random.percent(15)) {
    return fmt::format("projectcalico.org/name == '{}'", random.pick(names::kNamespaces));
  }
  return expression(random, names::kLabels, 1);
}

Rule random_rule(Random& random) {
  Rule rule;
  rule.action = random_action(random);
  rule.protocol = random_protocol(random);
  if (random.percent(8)) rule.not_protocol = random_protocol(random);
  if (random.percent(15)) rule.ip_version = random.percent(50) ? Family::kIpv4 : Family::kIpv6;
  const bool about_icmp =
      rule.protocol && (rule.protocol->number == kIcmp || rule.protocol->number == kIcmpV6);
  if (about_icmp && random.percent(60)) rule.icmp = random_icmp(random);
  if (random.percent(about_icmp ? 20 : 4)) rule.not_icmp = random_icmp(random);
  if (rule.action == Action::kAllow && rule.protocol && rule.protocol->number == kTcp && random.percent(10))
    rule.http = HttpMatch{{"GET"}, {{true, "/public"}}};  // nobody asks for it here
  if (random.percent(10)) rule.annotations = {{"why", random.pick(names::kValues)}};
  rule.source = random_side(random);
  rule.destination = random_side(random);
  add_ports(random, rule.protocol, rule);
  return rule;
}

}  // namespace ocicat::test
