#include "views/explain_ports.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>

#include "views/mentions.h"

namespace ocicat::views {
namespace {

using policy::Verdict;
namespace json = boost::json;

bool decided_alike(const Side& a, const Side& b) {
  return a.verdict == b.verdict && a.pending == b.pending && a.trace == b.trace &&
         a.crossings == b.crossings && a.note == b.note;
}

bool decided_alike(const Explained& a, const Explained& b) {
  return decided_alike(a.egress, b.egress) && decided_alike(a.ingress, b.ingress);
}

}  // namespace

std::vector<ExplainedPorts> explain_every_port(const policy::Evaluator& evaluator,
                                               const policy::Snapshot& snapshot, const Question& question) {
  CHECK(question.traffic.every_port());
  std::vector<ExplainedPorts> groups;
  for (const PortRange range : Mentions(snapshot).port_ranges(question.traffic.protocol)) {
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
