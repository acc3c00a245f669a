#include "views/explain_ports.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <set>

namespace ocicat::views {
namespace {

using policy::Verdict;
namespace json = boost::json;

constexpr std::uint16_t kFirst = 1;
constexpr std::uint16_t kLast = 65535;

// The first ports of the ranges within which nothing in the snapshot tells one port from another.
class PortStarts {
 public:
  explicit PortStarts(const policy::Snapshot& snapshot) {
    add(policy::EncapsulationGuard{}.vxlan_port);
    for (const auto& [key, resource] : snapshot) take(resource);
  }
  const std::set<std::uint16_t>& starts() const { return starts_; }

 private:
  void take(const Resource& resource) {
    if (const auto* policy = std::get_if<NetworkPolicy>(&resource)) {
      take(policy->ingress);
      take(policy->egress);
    } else if (const auto* profile = std::get_if<Profile>(&resource)) {
      take(profile->ingress);
      take(profile->egress);
    } else if (const auto* endpoint = std::get_if<WorkloadEndpoint>(&resource)) {
      for (const auto& port : endpoint->ports) add(port.port);  // what named ports stand for
    } else if (const auto* host = std::get_if<HostEndpoint>(&resource)) {
      for (const auto& port : host->ports) add(port.port);
      take(policy::Failsafes{});
    } else if (const auto* slice = std::get_if<EndpointSlice>(&resource)) {
      for (const auto& port : slice->ports) add(port.number);  // what services stand for
    } else if (const auto* configuration = std::get_if<FelixConfiguration>(&resource)) {
      take(*configuration);
    }
  }

  void take(const std::vector<Rule>& rules) {
    for (const Rule& rule : rules) {
      for (const auto* ports : {&rule.destination.ports, &rule.destination.not_ports}) {
        for (const auto& port : *ports) {
          if (const auto* range = std::get_if<PortRange>(&port)) add(*range);
        }
      }
    }
  }

  // Whatever policy says, these are open at host endpoints.
  void take(const policy::Failsafes& failsafes) {
    for (const auto* ports : {&failsafes.inbound, &failsafes.outbound}) {
      for (const auto& port : *ports) add(port.port);
    }
  }

  void take(const FelixConfiguration& configuration) {
    for (const auto* field : {"failsafeInboundHostPorts", "failsafeOutboundHostPorts"}) {
      const auto ports = configuration.values.find(field);
      if (ports == configuration.values.end()) continue;
      if (auto parsed = policy::parse_failsafes(ports->second))
        take(policy::Failsafes{*std::move(parsed), {}});
    }
    const auto text = configuration.values.find("vxlanPort");
    if (text == configuration.values.end()) return;
    std::uint16_t port = 0;
    const char* const end = text->second.data() + text->second.size();
    if (std::from_chars(text->second.data(), end, port).ec == std::errc{}) add(port);
  }

  void add(std::uint16_t port) { add({port, port}); }
  void add(PortRange range) {
    starts_.insert(std::max(range.first, kFirst));
    if (range.last < kLast) starts_.insert(static_cast<std::uint16_t>(range.last + 1));
  }

  std::set<std::uint16_t> starts_{kFirst};
};

bool decided_alike(const Side& a, const Side& b) {
  return a.verdict == b.verdict && a.pending == b.pending && a.trace == b.trace &&
         a.crossings == b.crossings && a.note == b.note;
}

bool decided_alike(const Explained& a, const Explained& b) {
  return decided_alike(a.egress, b.egress) && decided_alike(a.ingress, b.ingress);
}

void extend(std::vector<PortRange>& ports, PortRange next) {
  if (!ports.empty() && ports.back().last + 1 == next.first) {
    ports.back().last = next.last;
  } else {
    ports.push_back(next);
  }
}

std::string text_of(PortRange range) {
  return range.first == range.last ? fmt::format("{}", range.first)
                                   : fmt::format("{}-{}", range.first, range.last);
}

std::vector<std::string> texts_of(const std::vector<PortRange>& ports) {
  std::vector<std::string> texts;
  texts.reserve(ports.size());
  for (const PortRange range : ports) texts.push_back(text_of(range));
  return texts;
}

}  // namespace

std::vector<ExplainedPorts> explain_every_port(const policy::Evaluator& evaluator,
                                               const policy::Snapshot& snapshot, const Question& question) {
  CHECK(question.traffic.every_port());
  const PortStarts boundaries(snapshot);
  const auto& starts = boundaries.starts();
  std::vector<ExplainedPorts> groups;
  for (auto start = starts.begin(); start != starts.end(); ++start) {
    const auto next = std::next(start);
    const PortRange range{*start, next == starts.end() ? kLast : static_cast<std::uint16_t>(*next - 1)};
    Question one = question;
    one.traffic.port = range.first;
    Explained explained = explain(evaluator, one);
    auto same = std::ranges::find_if(
        groups, [&](const ExplainedPorts& group) { return decided_alike(group.explained, explained); });
    if (same == groups.end()) same = groups.insert(groups.end(), {{}, std::move(explained)});
    extend(same->ports, range);
  }
  return groups;
}

std::string to_text(std::span<const ExplainedPorts> groups) {
  std::vector<std::string> parts;
  for (const ExplainedPorts& group : groups) {
    const Traffic& traffic = group.explained.question.traffic;
    parts.push_back(to_text(group.explained, fmt::format("{}/{}", traffic.protocol_text(),
                                                         fmt::join(texts_of(group.ports), ","))));
  }
  return fmt::format("{}", fmt::join(parts, "\n"));
}

json::object to_json(std::span<const ExplainedPorts> groups) {
  const auto denied = std::ranges::find(
      groups, Verdict::kDeny, [](const ExplainedPorts& group) { return group.explained.verdict(); });
  const bool pending_denied = std::ranges::any_of(
      groups, [](const ExplainedPorts& group) { return group.explained.pending() == Verdict::kDeny; });
  json::object object = to_json((denied == groups.end() ? groups.begin() : denied)->explained);
  object.erase("port");
  object["pending"] = policy::to_string(pending_denied ? Verdict::kDeny : Verdict::kAllow);
  json::array entries;
  for (const ExplainedPorts& group : groups) {
    json::object one = to_json(group.explained);
    json::object entry;
    json::array ports;
    for (const std::string& text : texts_of(group.ports)) ports.emplace_back(text);
    entry["ports"] = std::move(ports);
    for (const std::string_view field : {"verdict", "pending", "egress", "ingress"}) {
      entry[field] = std::move(one[field]);
    }
    entries.push_back(std::move(entry));
  }
  object["ports"] = std::move(entries);
  return object;
}

}  // namespace ocicat::views
