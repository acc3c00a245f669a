#include <charconv>

#include "policy/model.h"

namespace ocicat::policy {

namespace {

std::optional<Protocol> protocol_of(std::string_view name) {
  if (name == "tcp" || name == "TCP") return kTcp;
  if (name == "udp" || name == "UDP") return kUdp;
  if (name == "sctp" || name == "SCTP") return kSctp;
  return std::nullopt;
}

// "22", "tcp:22", "tcp:10.0.0.0/8:22", "tcp:[fd00::/8]:22".
std::optional<FailsafePort> parse_one(std::string_view text) {
  FailsafePort failsafe;
  if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    const auto protocol = protocol_of(text.substr(0, colon));
    if (!protocol) return std::nullopt;
    failsafe.protocol = *protocol;
    text.remove_prefix(colon + 1);
  }
  if (const auto colon = text.rfind(':'); colon != std::string_view::npos) {
    auto net = text.substr(0, colon);
    if (net.starts_with('[') && net.ends_with(']')) net = net.substr(1, net.size() - 2);
    const auto prefix = Prefix::parse(net, true);
    if (!prefix) return std::nullopt;
    failsafe.net = prefix->masked();
    text.remove_prefix(colon + 1);
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), failsafe.port);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return failsafe;
}

// A packet between the host and a peer, as a rule. Requests name the port of whoever is asked, replies come
// from it.
MatchRule rule_for(const FailsafePort& failsafe, Hook hook, bool reply) {
  MatchRule rule;
  rule.action = hook.chain == ChainKind::kNormal ? Action::kAllow : Action::kPass;
  rule.protocol = failsafe.protocol;
  auto& with_port = reply ? rule.source : rule.destination;
  with_port.ports.push_back({failsafe.port, failsafe.port});
  if (failsafe.net) {
    auto& peer = hook.direction == Direction::kIngress ? rule.source : rule.destination;
    peer.nets.push_back(*failsafe.net);
    rule.ipv4 = failsafe.net->family() == Family::kIpv4;
    rule.ipv6 = !rule.ipv4;
  }
  return rule;
}

}  // namespace

std::vector<MatchRule> Failsafes::rules(Hook hook) const {
  std::vector<MatchRule> rules;
  if (hook.chain == ChainKind::kForward) return rules;
  const bool ingress = hook.direction == Direction::kIngress;
  for (const auto& failsafe : ingress ? inbound : outbound) rules.push_back(rule_for(failsafe, hook, false));
  if (hook.chain == ChainKind::kUntracked) {
    for (const auto& failsafe : ingress ? outbound : inbound) rules.push_back(rule_for(failsafe, hook, true));
  }
  for (auto& rule : rules) rule.index = TraceStep::kFailsafe;
  return rules;
}

std::optional<std::vector<FailsafePort>> parse_failsafes(std::string_view text) {
  std::vector<FailsafePort> failsafes;
  if (text == "none") return failsafes;
  while (true) {
    const auto comma = text.find(',');
    auto one = text.substr(0, comma);
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    const auto failsafe = parse_one(one);
    if (!failsafe) return std::nullopt;
    failsafes.push_back(*failsafe);
    if (comma == std::string_view::npos) return failsafes;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace ocicat::policy
