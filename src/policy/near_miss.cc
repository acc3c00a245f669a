#include "policy/near_miss.h"

#include <fmt/format.h>

#include <vector>

namespace ocicat::policy {

namespace {

// At most this many of a long list are told.
constexpr std::size_t kTold = 8;

template <class Item, class ToText>
std::string list(const std::vector<Item>& items, ToText to_text) {
  std::string text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i == kTold) return fmt::format("{} and {} more", text, items.size() - i);
    text += fmt::format("{}{}", i == 0 ? "" : ", ", to_text(items[i]));
  }
  return text;
}

std::string port_text(const PortRange& range) {
  if (range.first == range.last) return fmt::format("{}", range.first);
  return fmt::format("{}:{}", range.first, range.last);
}

std::string ports_text(const std::vector<PortRange>& ports, const std::vector<std::string>& named) {
  std::vector<std::string> texts;
  texts.reserve(ports.size() + named.size());
  for (const auto& port : ports) texts.push_back(port_text(port));
  texts.insert(texts.end(), named.begin(), named.end());
  return list(texts, [](const std::string& text) { return text; });
}

std::string nets_text(const std::vector<Prefix>& nets) {
  return list(nets, [](const Prefix& net) { return net.to_string(); });
}

std::string icmp_text(const IcmpMatch& icmp) {
  if (!icmp.type) return "any type";
  return icmp.code ? fmt::format("type {} code {}", *icmp.type, *icmp.code)
                   : fmt::format("type {}", *icmp.type);
}

std::string icmp_text(const Packet& packet) {
  if (!carries_icmp(packet.family(), packet.protocol)) {
    return fmt::format("protocol {}", protocol_name(packet.protocol));
  }
  return fmt::format("ICMP type {} code {}", packet.icmp_type, packet.icmp_code);
}

// ", TCP port 80"
std::string port_text(const Packet& packet, std::uint16_t port) {
  return has_ports(packet.protocol) ? fmt::format(", {} port {},", protocol_name(packet.protocol), port)
                                    : fmt::format(", protocol {},", protocol_name(packet.protocol));
}

// "source 10.65.0.3 (billing/card-vault)"
struct Told {
  std::string_view word;
  const EntityMatch& match;
  const IpAddress& address;
  const std::vector<const Member*>& owners;
  std::uint16_t port;

  std::string who() const {
    const auto names = list(owners, [](const Member* owner) { return owner->title; });
    return fmt::format("{} {} ({})", word, address.to_string(),
                       names.empty() ? "no endpoint or network set that is known" : names);
  }
};

std::string describe_ports(const Told& side, const Packet& packet) {
  if (!has_ports(packet.protocol)) {
    return fmt::format("protocol {} has no {} port", protocol_name(packet.protocol), side.word);
  }
  const auto wanted = ports_text(side.match.ports, side.match.named_ports);
  if (side.match.named_ports.empty()) {
    const bool one = side.match.ports.size() == 1;
    return fmt::format("{} port {} is not {}{}", side.word, side.port, one ? "" : "one of ", wanted);
  }
  const auto& selector = side.match.selector;
  return fmt::format("{} has no port {} that is named by {}{}", side.who(), side.port, wanted,
                     selector ? fmt::format(" and matches selector {}", selector->canonical()) : "");
}

std::string describe_side(Criterion criterion, const Told& side, const Packet& packet) {
  const auto& match = side.match;
  switch (criterion) {
    case Criterion::kSourcePorts:
    case Criterion::kDestinationPorts:
      return describe_ports(side, packet);
    case Criterion::kSourceNotPorts:
    case Criterion::kDestinationNotPorts:
      return fmt::format("{} port {} is excepted by notPorts {}", side.word, side.port,
                         ports_text(match.not_ports, match.not_named_ports));
    case Criterion::kSourceSelector:
    case Criterion::kDestinationSelector:
      return fmt::format("{} does not match selector {}", side.who(), match.selector->canonical());
    case Criterion::kSourceNotSelector:
    case Criterion::kDestinationNotSelector:
      return fmt::format("{} is excepted by notSelector {}", side.who(), match.not_in_selector->canonical());
    case Criterion::kSourceServices:
    case Criterion::kDestinationServices:
      return fmt::format("{}{} is not behind service {}/{}", side.who(),
                         criterion == Criterion::kDestinationServices ? port_text(packet, side.port) : "",
                         match.services->ns, match.services->name);
    case Criterion::kSourceNets:
    case Criterion::kDestinationNets:
      return fmt::format("{} is not in {}", side.who(), nets_text(match.nets));
    case Criterion::kSourceNotNets:
    case Criterion::kDestinationNotNets:
      return fmt::format("{} is excepted by notNets {}", side.who(), nets_text(match.not_nets));
    default:
      CHECK(false);
  }
}

bool is_about_source(Criterion criterion) {
  switch (criterion) {
    case Criterion::kSourcePorts:
    case Criterion::kSourceNotPorts:
    case Criterion::kSourceSelector:
    case Criterion::kSourceNotSelector:
    case Criterion::kSourceServices:
    case Criterion::kSourceNets:
    case Criterion::kSourceNotNets:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string describe(Criterion criterion, const MatchRule& rule, const Question& question) {
  const auto& packet = question.packet;
  switch (criterion) {
    case Criterion::kFamily:
      return fmt::format("the rule says nothing about {}",
                         packet.family() == Family::kIpv4 ? "IPv4" : "IPv6");
    case Criterion::kProtocol:
      return fmt::format("protocol {} is not {}", protocol_name(packet.protocol),
                         protocol_name(*rule.protocol));
    case Criterion::kNotProtocol:
      return fmt::format("protocol {} is excepted by notProtocol", protocol_name(packet.protocol));
    case Criterion::kIcmp:
      return fmt::format("{} is not {}", icmp_text(packet), icmp_text(*rule.icmp));
    case Criterion::kNotIcmp:
      return fmt::format("{} is excepted by notICMP {}", icmp_text(packet), icmp_text(*rule.not_icmp));
    default:
      break;
  }
  if (is_about_source(criterion)) {
    return describe_side(criterion,
                         {"source", rule.source, packet.source, question.source_owners, packet.source_port},
                         packet);
  }
  return describe_side(criterion,
                       {"destination", rule.destination, packet.destination, question.destination_owners,
                        packet.destination_port},
                       packet);
}

}  // namespace ocicat::policy
