#include "test/support/describe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ocicat::test {

namespace {

std::string text_of(const Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels)
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", name, value);
  return "{" + text + "}";
}

std::string text_of(const Prefix& prefix) {
  return prefix.to_string();
}
std::string text_of(const IpAddress& address) {
  return address.to_string();
}
std::string text_of(const std::string& text) {
  return text;
}
std::string text_of(const Port& port) {
  const auto* range = std::get_if<PortRange>(&port);
  return range != nullptr ? fmt::format("{}-{}", range->first, range->last) : std::get<std::string>(port);
}
std::string text_of(const EndpointPort& port) {
  return fmt::format("{}={}/{}", port.name, port.protocol, port.port);
}

template <class Item>
std::string list(std::string_view name, const std::vector<Item>& items) {
  if (items.empty()) return {};
  std::vector<std::string> texts;
  for (const auto& item : items) texts.push_back(text_of(item));
  return fmt::format(" {} [{}]", name, fmt::join(texts, " "));
}

std::string quoted(std::string_view name, const std::string& text) {
  return text.empty() ? text : fmt::format(" {} \"{}\"", name, text);
}

std::string order(const std::optional<double>& value) {
  return value ? fmt::format(" order {}", *value) : std::string();
}

std::string describe_side(std::string_view name, const EntityRule& side) {
  auto text = quoted("selector", side.selector) + quoted("not", side.not_selector) +
              quoted("namespaces", side.namespace_selector) + list("nets", side.nets) +
              list("not nets", side.not_nets) + list("ports", side.ports) + list("not ports", side.not_ports);
  if (side.service_accounts) {
    text +=
        list("accounts", side.service_accounts->names) + quoted("accounts", side.service_accounts->selector);
  }
  if (side.services) text += fmt::format(" service {}/{}", side.services->ns, side.services->name);
  return text.empty() ? text : fmt::format(" {}({})", name, text.substr(1));
}

std::string text_of(const IcmpMatch& icmp) {
  return fmt::format("{}/{}", icmp.type ? std::to_string(*icmp.type) : "any",
                     icmp.code ? std::to_string(*icmp.code) : "any");
}

std::string describe_rule(const Rule& rule) {
  std::string text(to_string(rule.action));
  const auto protocol = [](const ProtocolMatch& match) {
    return match.implies_family ? protocol_name(match.number) : std::to_string(match.number);
  };
  if (rule.ip_version) text += *rule.ip_version == Family::kIpv4 ? " IPv4" : " IPv6";
  if (rule.protocol) text += " protocol " + protocol(*rule.protocol);
  if (rule.not_protocol) text += " not protocol " + protocol(*rule.not_protocol);
  if (rule.icmp) text += " icmp " + text_of(*rule.icmp);
  if (rule.not_icmp) text += " not icmp " + text_of(*rule.not_icmp);
  return text + describe_side("source", rule.source) + describe_side("destination", rule.destination);
}

std::string describe_rules(const std::vector<Rule>& ingress, const std::vector<Rule>& egress) {
  std::string text;
  for (const auto& rule : ingress) text += "\n      in  " + describe_rule(rule);
  for (const auto& rule : egress) text += "\n      out " + describe_rule(rule);
  return text;
}

std::string describe_value(const Tier& tier) {
  return fmt::format("else {}{}", to_string(tier.default_action), order(tier.order));
}

std::string describe_value(const NetworkPolicy& policy) {
  auto text = fmt::format("tier {}{}{}{}{}", policy.tier, order(policy.order), quoted("for", policy.selector),
                          quoted("namespaces", policy.namespace_selector),
                          quoted("accounts", policy.service_account_selector));
  text += policy.applies_to_ingress ? " ingress" : "";
  text += policy.applies_to_egress ? " egress" : "";
  text += policy.do_not_track ? " doNotTrack" : "";
  text += policy.pre_dnat ? " preDNAT" : "";
  text += policy.apply_on_forward ? " applyOnForward" : "";
  text += policy.staged_delete ? " stagedAction Delete" : "";
  return text + quoted("broken", policy.broken) + describe_rules(policy.ingress, policy.egress);
}

std::string describe_value(const NetworkSet& set) {
  return text_of(set.metadata.labels) + list("nets", set.nets);
}

std::string describe_value(const Profile& profile) {
  return profile.metadata.name + " hands down " + text_of(profile.labels_to_apply) +
         quoted("broken", profile.broken) + describe_rules(profile.ingress, profile.egress);
}

std::string describe_value(const WorkloadEndpoint& endpoint) {
  return fmt::format("at {} {} {}", endpoint.node, endpoint.interface_name,
                     text_of(endpoint.metadata.labels)) +
         list("addresses", endpoint.addresses) + list("profiles", endpoint.profiles) +
         list("ports", endpoint.ports) + list("may send from", endpoint.allowed_source_prefixes);
}

std::string describe_value(const HostEndpoint& endpoint) {
  return fmt::format("at {} {} {}", endpoint.node, endpoint.interface_name,
                     text_of(endpoint.metadata.labels)) +
         list("addresses", endpoint.expected_addresses) + list("profiles", endpoint.profiles) +
         list("ports", endpoint.ports);
}

std::string describe_value(const Node& node) {
  return fmt::format("{} {} {}", node.ipv4 ? node.ipv4->to_string() : "-",
                     node.ipv6 ? node.ipv6->to_string() : "-", text_of(node.metadata.labels));
}

std::string describe_value(const IpPool& pool) {
  return pool.cidr.to_string();
}

std::string describe_value(const FelixConfiguration& configuration) {
  return text_of(configuration.values) + quoted("nodes", configuration.node_selector);
}

// Of kinds that say nothing worth reading here, and of those to come.
template <class T>
std::string describe_value(const T&) {
  return "there";
}

}  // namespace

std::string describe(const Resource& resource) {
  return std::visit([](const auto& value) { return describe_value(value); }, resource);
}

std::string describe(const Changes<ResourceKey, Resource>& step) {
  std::string text;
  for (const auto& [key, resource] : step.entries())
    text += fmt::format("    {}: {}\n", key.to_string(), resource ? describe(*resource) : "gone");
  return text;
}

}  // namespace ocicat::test
