#include "policy/model.h"

#include <algorithm>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

namespace ocicat::policy {

namespace {

constexpr std::string_view kNamespaceLabel = "projectcalico.org/namespace";
constexpr std::string_view kServiceAccountLabel = "projectcalico.org/serviceaccount";
constexpr std::string_view kNamespacePrefix = "pcns.";
constexpr std::string_view kServiceAccountPrefix = "pcsa.";

bool is_namespaced(Kind kind) {
  return kind == Kind::kNetworkPolicy || kind == Kind::kStagedNetworkPolicy ||
         kind == Kind::kStagedKubernetesNetworkPolicy || kind == Kind::kKubernetesNetworkPolicy;
}

// Absent where the text is empty: an empty selector is one that was not written.
Result<std::optional<Selector>> parse_if_written(std::string_view field, const std::string& text) {
  if (text.empty()) return std::nullopt;
  auto selector = Selector::parse(text);
  if (!selector) return within(field, std::move(selector).error());
  return std::optional{*std::move(selector)};
}

void add(std::optional<Selector>& all, const Selector& more) {
  all = all ? *all && more : more;
}

// --- whom a policy selects ---

Result<Selector> namespaced_policy_selector(const NetworkPolicy& policy) {
  TRY(auto selector, parse_if_written("selector", policy.selector));
  TRY(const auto accounts, parse_if_written("serviceAccountSelector", policy.service_account_selector));
  add(selector, Selector::label_equals(kNamespaceLabel, policy.metadata.ns));
  if (accounts) add(selector, accounts->with_prefix(kServiceAccountPrefix));
  return *selector;
}

// A namespaceSelector makes every all() mean "in some namespace", in `selector` too; a serviceAccountSelector
// likewise.
Result<Selector> global_policy_selector(const NetworkPolicy& policy) {
  TRY(auto selector, parse_if_written("selector", policy.selector));
  TRY(const auto namespaces, parse_if_written("namespaceSelector", policy.namespace_selector));
  TRY(const auto accounts, parse_if_written("serviceAccountSelector", policy.service_account_selector));
  if (namespaces) {
    add(selector, namespaces->with_prefix(kNamespacePrefix));
    selector = selector->replace_all_with_has(kNamespaceLabel);
  }
  if (accounts) {
    add(selector, accounts->with_prefix(kServiceAccountPrefix));
    selector = selector->replace_all_with_has(kServiceAccountLabel);
  }
  return selector.value_or(Selector::all());
}

// --- whom a side of a rule selects ---

Result<std::optional<Selector>> service_account_part(const EntityRule& entity) {
  std::optional<Selector> part;
  if (!entity.service_accounts) return part;
  TRY(const auto selector, parse_if_written("serviceAccounts.selector", entity.service_accounts->selector));
  if (selector) part = selector->with_prefix(kServiceAccountPrefix);
  const auto& names = entity.service_accounts->names;
  if (!names.empty()) add(part, Selector::label_in(kServiceAccountLabel, {names.begin(), names.end()}));
  return part;
}

// `own_ns` is the namespace that the rule's policy lives in, empty for a global one.
Result<std::optional<Selector>> namespace_part(const EntityRule& entity, const std::string& own_ns,
                                               bool selects_by_label) {
  TRY(const auto written, parse_if_written("namespaceSelector", entity.namespace_selector));
  std::optional<Selector> part;
  if (written) {
    part = written->with_prefix(kNamespacePrefix)
               .replace_all_with_has(kNamespaceLabel)
               .replace_global_with_not_has(kNamespaceLabel);
  } else if (!own_ns.empty() && selects_by_label) {
    part = Selector::label_equals(kNamespaceLabel, own_ns);
  }
  return part;
}

Result<void> read_selectors(const EntityRule& entity, const std::string& own_ns, EntityMatch& match) {
  TRY(const auto accounts, service_account_part(entity));
  TRY(const auto selector, parse_if_written("selector", entity.selector));
  TRY(const auto negative, parse_if_written("notSelector", entity.not_selector));
  TRY(const auto namespaces, namespace_part(entity, own_ns, accounts || selector || negative));

  std::optional<Selector> positive = namespaces;
  if (accounts) add(positive, *accounts);
  if (selector) add(positive, *selector);
  if (positive && negative) {
    match.selector = *positive && !*negative;
  } else {
    match.selector = positive;
    match.not_in_selector = negative;
  }
  return {};
}

// --- the rest of a rule ---

Result<void> split_ports(std::string_view field, const std::vector<Port>& ports,
                         const std::optional<ProtocolMatch>& protocol, std::vector<PortRange>& numbers,
                         std::vector<std::string>& names) {
  if (!ports.empty() && protocol && !has_ports(protocol->number)) {
    return fail(ErrorCode::kInvalid, "{}: protocol {} has no ports", field, protocol_name(protocol->number));
  }
  for (const auto& port : ports) {
    if (const auto* name = std::get_if<std::string>(&port)) {
      names.push_back(*name);
      continue;
    }
    const auto range = std::get<PortRange>(port);
    if (!protocol) return fail(ErrorCode::kInvalid, "{}: port numbers need a protocol", field);
    if (range.first > range.last) {
      return fail(ErrorCode::kInvalid, "{}: range {}:{} is empty", field, range.first, range.last);
    }
    numbers.push_back(range);
  }
  return {};
}

std::vector<Prefix> masked(const std::vector<Prefix>& nets) {
  std::vector<Prefix> result;
  result.reserve(nets.size());
  for (const auto& net : nets) result.push_back(net.masked());
  return result;
}

Result<EntityMatch> effective_side(const EntityRule& entity, const std::string& own_ns,
                                   const std::optional<ProtocolMatch>& protocol) {
  EntityMatch match;
  TRY_VOID(read_selectors(entity, own_ns, match));
  match.services = entity.services;
  if (match.services && match.services->ns.empty()) match.services->ns = own_ns;
  match.nets = masked(entity.nets);
  match.not_nets = masked(entity.not_nets);
  TRY_VOID(split_ports("ports", entity.ports, protocol, match.ports, match.named_ports));
  TRY_VOID(split_ports("notPorts", entity.not_ports, protocol, match.not_ports, match.not_named_ports));
  return match;
}

Result<std::optional<IcmpMatch>> effective_icmp(std::string_view field,
                                                const std::optional<IcmpMatch>& icmp) {
  if (icmp && icmp->code && !icmp->type) return fail(ErrorCode::kInvalid, "{}: a code needs a type", field);
  if (!icmp || !icmp->type) return std::nullopt;  // `icmp: {}` limits nothing
  return icmp;
}

// Nets that are all of the other family leave nothing of this one to match, negated or not; and nothing is
// left of a family that notNets takes away whole.
bool nets_leave(Family family, const EntityMatch& side) {
  const auto is_of_family = [&](const Prefix& net) { return net.family() == family; };
  for (const auto* nets : {&side.nets, &side.not_nets}) {
    if (!nets->empty() && std::ranges::none_of(*nets, is_of_family)) return false;
  }
  return std::ranges::none_of(side.not_nets,
                              [&](const Prefix& net) { return is_of_family(net) && net.length == 0; });
}

bool family_can_match(Family family, const Rule& rule, const MatchRule& match) {
  if (rule.ip_version && *rule.ip_version != family) return false;
  if (rule.protocol && rule.protocol->implies_family && !carries_icmp(family, rule.protocol->number))
    return false;
  return nets_leave(family, match.source) && nets_leave(family, match.destination);
}

Result<MatchRule> effective_rule(const Rule& rule, const std::string& own_ns, int index) {
  MatchRule match;
  match.action = rule.action;
  match.index = index;
  if (rule.protocol) match.protocol = rule.protocol->number;
  if (rule.not_protocol) match.not_protocol = rule.not_protocol->number;
  TRY(match.icmp, effective_icmp("icmp", rule.icmp));
  TRY(match.not_icmp, effective_icmp("notICMP", rule.not_icmp));
  if (match.icmp && match.protocol != kIcmp && match.protocol != kIcmpV6) {
    return fail(ErrorCode::kInvalid, "icmp: needs protocol ICMP or ICMPv6");
  }
  auto source = effective_side(rule.source, own_ns, rule.protocol);
  if (!source) return within("source", std::move(source).error());
  auto destination = effective_side(rule.destination, own_ns, rule.protocol);
  if (!destination) return within("destination", std::move(destination).error());
  match.source = *std::move(source);
  match.destination = *std::move(destination);
  match.ipv4 = family_can_match(Family::kIpv4, rule, match);
  match.ipv6 = family_can_match(Family::kIpv6, rule, match);
  return match;
}

Result<std::vector<MatchRule>> effective_rules(std::string_view direction, const std::vector<Rule>& rules,
                                               const std::string& own_ns) {
  std::vector<MatchRule> matches;
  matches.reserve(rules.size());
  for (std::size_t i = 0; i < rules.size(); ++i) {
    auto match = effective_rule(rules[i], own_ns, rules[i].index_at(i));
    if (!match) return within(fmt::format("{}[{}]", direction, i), std::move(match).error());
    matches.push_back(*std::move(match));
  }
  return matches;
}

// Fills in the rules of both directions, or else says why not.
template <class From, class To>
void read_rules(const From& from, const std::string& own_ns, To& to) {
  to.broken = from.broken;
  if (!to.broken.empty()) return;
  auto ingress = effective_rules("ingress", from.ingress, own_ns);
  auto egress = effective_rules("egress", from.egress, own_ns);
  if (!ingress || !egress) {
    to.broken = ingress ? egress.error().message : ingress.error().message;
    return;
  }
  to.ingress = *std::move(ingress);
  to.egress = *std::move(egress);
}

constexpr double kLastOrder = std::numeric_limits<double>::infinity();

std::string order_text(const ResourceKey& id) {
  return fmt::format("{}/{}/{}", id.name, id.ns, name_for_order(id.kind));
}

}  // namespace

std::string_view name_for_order(Kind kind) {
  if (kind == Kind::kKubernetesNetworkPolicy) return "KubernetesNetworkPolicy";
  if (kind == Kind::kClusterNetworkPolicy) return "KubernetesClusterNetworkPolicy";
  return info(kind).name;
}

Result<Policy> effective(const NetworkPolicy& policy) {
  Policy result;
  const bool namespaced = is_namespaced(policy.kind);
  TRY(result.selector, namespaced ? namespaced_policy_selector(policy) : global_policy_selector(policy));
  const std::string own_ns = namespaced ? policy.metadata.ns : "";
  result.id = {policy.kind, own_ns, policy.metadata.name};
  result.tier = policy.tier;
  result.order = policy.order;
  result.applies_to_ingress = policy.applies_to_ingress;
  result.applies_to_egress = policy.applies_to_egress;
  result.staged = policy.staged();
  result.do_not_track = policy.do_not_track;
  result.pre_dnat = policy.pre_dnat;
  result.apply_on_forward = policy.apply_on_forward;
  read_rules(policy, own_ns, result);
  return result;
}

ProfileRules effective(const Profile& profile) {
  ProfileRules result;
  result.name = profile.metadata.name;
  read_rules(profile, "", result);
  return result;
}

ProfileRules default_allow_profile() {
  return {.name = std::string{kDefaultAllowProfile},
          .ingress = {MatchRule{}},
          .egress = {MatchRule{}},
          .broken = {}};
}

TierPlace effective(const Tier& tier) {
  const bool passes = tier.default_action == Action::kPass;
  return {.name = tier.metadata.name,
          .order = tier.order,
          .default_action = passes ? Action::kPass : Action::kDeny,
          .missing = false};
}

TierPlace undescribed_tier(std::string_view name) {
  const auto built_in = [&](double order, Action action) {
    return TierPlace{.name = std::string{name}, .order = order, .default_action = action, .missing = false};
  };
  if (name == "kube-admin") return built_in(1'000, Action::kPass);
  if (name == "default") return built_in(1'000'000, Action::kDeny);
  if (name == "kube-baseline") return built_in(10'000'000, Action::kPass);
  return {.name = std::string{name}, .order = std::nullopt, .default_action = Action::kDeny, .missing = true};
}

std::string about_missing_tier() {
  return "it does not exist, but policies name it: they come after all other tiers, and what none of them "
         "decides "
         "is denied";
}

std::string about_missing_profile(std::string_view name) {
  constexpr std::string_view kNamespace = "kns.";
  constexpr std::string_view kServiceAccount = "ksa.";
  std::string what = "it does not exist";
  if (name.starts_with(kNamespace)) {
    what = fmt::format("there is no Namespace {}", name.substr(kNamespace.size()));
  } else if (name.starts_with(kServiceAccount)) {
    what = fmt::format("there is no ServiceAccount {}", name.substr(kServiceAccount.size()));
  }
  return what +
         ": endpoints that name it have no labels from it, and are denied what nothing before it allows";
}

bool before(const TierPlace& a, const TierPlace& b) {
  const auto place = [](const TierPlace& tier) {
    return std::tuple{tier.missing, tier.order.value_or(kLastOrder), std::string_view{tier.name}};
  };
  return place(a) < place(b);
}

bool before(const Policy& a, const Policy& b) {
  const double order_a = a.order.value_or(kLastOrder);
  const double order_b = b.order.value_or(kLastOrder);
  if (order_a != order_b) return order_a < order_b;
  return order_text(a.id) < order_text(b.id);
}

}  // namespace ocicat::policy
