#include "views/policy_diff.h"

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "views/explain.h"
#include "views/matrix.h"
#include "views/text_table.h"

namespace ocicat::views {
namespace {

using policy::Direction;
using policy::Verdict;

// What policies of a snapshot tell apart.
class Mentions {
 public:
  void add(const policy::Snapshot& snapshot) {
    for (const auto& [key, resource] : snapshot) {
      if (const auto* policy = std::get_if<NetworkPolicy>(&resource)) add(policy->ingress, policy->egress);
      if (const auto* profile = std::get_if<Profile>(&resource)) add(profile->ingress, profile->egress);
      if (const auto* slice = std::get_if<EndpointSlice>(&resource)) {
        for (const auto& port : slice->ports) add_port(port.protocol, port.number);
      }
    }
    for (const auto& [key, resource] : snapshot) {
      const auto* endpoint = std::get_if<WorkloadEndpoint>(&resource);
      if (endpoint == nullptr) continue;
      for (const auto& port : endpoint->ports) {
        if (names_.contains(port.name)) add_port(port.protocol, port.port);
      }
    }
  }

  std::vector<Probe> probes() const {
    std::vector<Probe> probes;
    const auto add = [&](Protocol protocol, std::uint16_t port, bool others) {
      probes.push_back({Traffic{.protocol = protocol, .port = port}, others});
    };
    for (const auto& [protocol, ports] : ports_) {
      for (const auto port : ports) add(protocol, port, false);
      // The first that nobody mentions and that lies in no range between two that are mentioned.
      std::uint16_t other = 1;
      while (other < 65535 && mentioned(protocol, other)) ++other;
      if (!mentioned(protocol, other)) add(protocol, other, true);
    }
    for (const auto& name : {"icmp", "icmpv6"}) probes.push_back({*parse_traffic(name), true});
    for (const auto& icmp : icmp_) {
      if (std::ranges::find(probes, icmp, &Probe::traffic) == probes.end()) probes.push_back({icmp, false});
    }
    for (const auto protocol : portless_) add(protocol, 0, false);
    return probes;
  }

 private:
  void add(const std::vector<Rule>& ingress, const std::vector<Rule>& egress) {
    for (const auto* rules : {&ingress, &egress}) {
      for (const auto& rule : *rules) add(rule);
    }
  }

  void add(const Rule& rule) {
    for (const auto* protocol : {&rule.protocol, &rule.not_protocol}) {
      if (!*protocol) continue;
      const auto number = (*protocol)->number;
      if (has_ports(number) || number == kUdpLite) {
        ports_.try_emplace(number);
      } else if (number != kIcmp && number != kIcmpV6) {
        portless_.insert(number);
      }
    }
    const auto protocol = rule.protocol ? rule.protocol->number : kTcp;
    for (const auto* ports : {&rule.destination.ports, &rule.destination.not_ports}) {
      for (const auto& port : *ports) {
        if (const auto* name = std::get_if<std::string>(&port)) names_.insert(*name);
        if (const auto* range = std::get_if<PortRange>(&port)) {
          add_port(protocol, range->first);
          add_port(protocol, range->last);
          ranges_[protocol].push_back(*range);
        }
      }
    }
    for (const auto* icmp : {&rule.icmp, &rule.not_icmp}) {
      if (!*icmp || !(*icmp)->type) continue;
      for (const auto number : {kIcmp, kIcmpV6}) {
        if (rule.protocol && rule.protocol->number != number) continue;
        icmp_.push_back({.protocol = number,
                         .icmp_type = *(*icmp)->type,
                         .icmp_code = (*icmp)->code.value_or(0),
                         .family = number == kIcmp ? Family::kIpv4 : Family::kIpv6});
      }
    }
  }

  void add_port(Protocol protocol, std::uint16_t port) {
    if (port != 0 && (has_ports(protocol) || protocol == kUdpLite)) ports_[protocol].insert(port);
  }

  bool mentioned(Protocol protocol, std::uint16_t port) const {
    if (ports_.at(protocol).contains(port)) return true;
    const auto ranges = ranges_.find(protocol);
    return ranges != ranges_.end() && std::ranges::any_of(ranges->second, [&](const PortRange& range) {
             return range.first <= port && port <= range.last && (range.first > 1 || range.last < 65535);
           });
  }

  std::map<Protocol, std::set<std::uint16_t>> ports_{{kTcp, {}}, {kUdp, {}}};
  std::map<Protocol, std::vector<PortRange>> ranges_;
  std::set<std::string> names_;
  std::vector<Traffic> icmp_;
  std::set<Protocol> portless_;
};

// The last word of the end whose answer changes, else of the one that denies.
std::string reason_of(const Connectivity::Answer& before, const Connectivity::Answer& after) {
  const auto last = [](const policy::Judgement& judgement, Direction direction) {
    return judgement.trace.empty()
               ? fmt::format("{}: no address that policy knows", policy::to_string(direction))
               : fmt::format("{}: {}", policy::to_string(direction),
                             in_words(judgement.trace.back(), direction));
  };
  if (before.verdict() != after.verdict()) {
    return before.egress.verdict != after.egress.verdict ? last(after.egress.outcome, Direction::kEgress)
                                                         : last(after.ingress.outcome, Direction::kIngress);
  }
  return "staged, " + (before.egress.pending != after.egress.pending
                           ? last(after.egress.outcome.with_staged(), Direction::kEgress)
                           : last(after.ingress.outcome.with_staged(), Direction::kIngress));
}

std::map<ResourceKey, const Party*> by_key(const Connectivity& connectivity) {
  std::map<ResourceKey, const Party*> parties;
  for (const auto& party : connectivity.inventory().endpoints()) parties.emplace(*party.endpoint, &party);
  return parties;
}

// An endpoint as both snapshots have it.
struct Both {
  const Party* before;
  const Party* after;

  bool has(Family family) const { return before->address(family) && after->address(family); }
};

std::vector<Both> common_endpoints(const Connectivity& before, const Connectivity& after,
                                   std::size_t& one_sided) {
  const auto old = by_key(before);
  const auto now = by_key(after);
  std::vector<Both> common;
  for (const auto& party : before.inventory().endpoints()) {
    const auto it = now.find(*party.endpoint);
    if (it != now.end()) common.push_back({&party, it->second});
  }
  one_sided = old.size() + now.size() - 2 * common.size();
  return common;
}

std::string change_text(Verdict before, Verdict after) {
  return before == after ? std::string(policy::to_string(after))
                         : fmt::format("{} -> {}", policy::to_string(before), policy::to_string(after));
}

}  // namespace

std::string Probe::to_string() const {
  return others ? traffic.to_string() + " and others" : traffic.to_string();
}

std::vector<Probe> probes_of(const policy::Snapshot& before, const policy::Snapshot& after) {
  Mentions mentions;
  mentions.add(before);
  mentions.add(after);
  return mentions.probes();
}

PolicyDiff diff(const policy::Snapshot& before, const policy::Snapshot& after,
                const std::vector<Probe>& probes, std::optional<Family> wanted) {
  const Connectivity old(before);
  const Connectivity now(after);
  PolicyDiff diff;
  const auto endpoints = common_endpoints(old, now, diff.one_sided);
  const auto compare = [&](const Both& from, const Both& to, const Probe& probe, Family family) {
    const auto was = old.ask(*from.before, *to.before, probe.traffic, family);
    const auto is = now.ask(*from.after, *to.after, probe.traffic, family);
    ++diff.compared;
    if (was.verdict() == is.verdict() && was.pending() == is.pending()) return;
    diff.changes.push_back({.from = from.after->name,
                            .to = to.after->name,
                            .probe = probe,
                            .family = family,
                            .before = was.verdict(),
                            .after = is.verdict(),
                            .pending_before = was.pending(),
                            .pending_after = is.pending(),
                            .reason = reason_of(was, is)});
  };
  for (const auto& from : endpoints) {
    for (const auto& to : endpoints) {
      if (from.before == to.before) continue;
      for (const auto& probe : probes) {
        for (const auto family : kFamilies) {
          if (wanted.value_or(family) != family || probe.traffic.family.value_or(family) != family) continue;
          if (from.has(family) && to.has(family)) compare(from, to, probe, family);
        }
      }
    }
  }
  return diff;
}

std::string to_text(const PolicyDiff& diff) {
  if (diff.changes.empty()) return fmt::format("No verdict changes ({} compared).\n", diff.compared);
  TextTable table;
  table.headers = {"FROM", "TO", "TRAFFIC", "IP", "VERDICT", "WITH STAGED", "BECAUSE"};
  for (const auto& change : diff.changes) {
    table.rows.push_back({change.from, change.to, change.probe.to_string(),
                          fmt::format("{}", number_of(change.family)),
                          change_text(change.before, change.after),
                          change_text(change.pending_before, change.pending_after), change.reason});
  }
  return table.to_string() + fmt::format("\n{} of {} verdicts change.\n", diff.changes.size(), diff.compared);
}

boost::json::object to_json(const PolicyDiff& diff) {
  boost::json::array changes;
  for (const auto& change : diff.changes) {
    boost::json::object object;
    object["from"] = change.from;
    object["to"] = change.to;
    add_traffic(object, change.probe.traffic, change.family);
    object["others"] = change.probe.others;
    object["before"] = policy::to_string(change.before);
    object["after"] = policy::to_string(change.after);
    object["pendingBefore"] = policy::to_string(change.pending_before);
    object["pendingAfter"] = policy::to_string(change.pending_after);
    object["reason"] = change.reason;
    changes.push_back(std::move(object));
  }
  return {
      {"changes", std::move(changes)}, {"compared", diff.compared}, {"endpointsOnOneSide", diff.one_sided}};
}

}  // namespace ocicat::views
