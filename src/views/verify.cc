#include "views/verify.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>

#include "views/explain_ports.h"

namespace ocicat::views {
namespace {

using policy::Direction;
using policy::Verdict;

// The families in which a case must hold.
Result<std::vector<Family>> families_of(const Case& wanted, const Party& from, const Party& to) {
  const std::optional<Family> only = wanted.family ? wanted.family : wanted.traffic.family;
  TRY(const Family first, common_family(from, to, only));
  std::vector<Family> families{first};
  if (!only && first == Family::kIpv4 && from.address(Family::kIpv6) && to.address(Family::kIpv6)) {
    families.push_back(Family::kIpv6);
  }
  return families;
}

Result<std::vector<Explained>> answers_to(const policy::Evaluator& evaluator,
                                          const policy::Snapshot& snapshot, const Inventory& inventory,
                                          const Case& wanted) {
  TRY(const Party from, inventory.find(wanted.from));
  TRY(const Party to, inventory.find(wanted.to));
  TRY(const std::vector<Family> families, families_of(wanted, from, to));
  std::vector<Explained> answers;
  for (const Family family : families) {
    const Question question{from, to, wanted.traffic, family, wanted.source_port};
    if (wanted.traffic.every_port()) {
      for (auto& group : explain_every_port(evaluator, snapshot, question)) {
        answers.push_back(std::move(group.explained));
      }
    } else {
      answers.push_back(explain(evaluator, question));
    }
  }
  return answers;
}

// " to port 80", where a case is about every port.
std::string port_of(const Explained& explained, const Case& wanted) {
  return wanted.traffic.every_port() ? fmt::format(" to port {}", explained.question.traffic.port) : "";
}

void append_reason(std::vector<std::string>& reasons, const Side& side, Direction direction) {
  if (side.trace.empty()) return;
  reasons.push_back(
      fmt::format("{}: {}", policy::to_string(direction), in_words(side.trace.back(), direction)));
  if (!side.near_misses.empty()) {
    const policy::NearMiss& miss = side.near_misses.front();
    reasons.push_back(fmt::format("nearest miss {}, {}[{}], but {}", miss.policy.to_string(),
                                  policy::to_string(direction), miss.rule, miss.why));
  }
}

// What decided: the last word of the sides that denied, or of both where it is allowed.
std::string reason_of(const Explained& explained) {
  std::vector<std::string> reasons;
  const bool allowed = explained.verdict() == Verdict::kAllow;
  if (allowed || explained.egress.verdict != Verdict::kAllow) {
    append_reason(reasons, explained.egress, Direction::kEgress);
  }
  if (allowed || explained.ingress.verdict != Verdict::kAllow) {
    append_reason(reasons, explained.ingress, Direction::kIngress);
  }
  return fmt::format("{}", fmt::join(reasons, "; "));
}

std::string xml_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\n':
        out += "&#10;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

}  // namespace

std::string Case::to_string() const {
  return fmt::format("{} -> {} {}{} is {}", from, to, traffic.to_string(),
                     family ? fmt::format(" over IPv{}", number_of(*family)) : "",
                     allowed ? "allowed" : "denied");
}

std::vector<const Explained*> CaseResult::surprises() const {
  std::vector<const Explained*> others;
  for (const Explained& answer : answers) {
    if ((answer.verdict() == Verdict::kAllow) != wanted.allowed) others.push_back(&answer);
  }
  return others;
}

std::string CaseResult::failure() const {
  if (!error.empty())
    return fmt::format("expected that {}, but it cannot be asked: {}", wanted.to_string(), error);
  std::vector<std::string> parts;
  for (const Explained* surprise : surprises()) {
    parts.push_back(fmt::format("over IPv{}{} it is {} ({})", number_of(surprise->question.family),
                                port_of(*surprise, wanted), wanted.allowed ? "denied" : "allowed",
                                reason_of(*surprise)));
  }
  if (parts.empty()) return {};
  return fmt::format("expected that {}, but {}", wanted.to_string(), fmt::join(parts, ", and "));
}

std::string CaseResult::staged_note() const {
  std::vector<std::string> parts;
  for (const Explained& answer : answers) {
    if (answer.pending() == answer.verdict()) continue;
    parts.push_back(fmt::format("over IPv{}{} it would be {}", number_of(answer.question.family),
                                port_of(answer, wanted),
                                answer.pending() == Verdict::kAllow ? "allowed" : "denied"));
  }
  if (parts.empty()) return {};
  return fmt::format("{} -> {} {} with staged policy enforced: {}", wanted.from, wanted.to,
                     wanted.traffic.to_string(), fmt::join(parts, ", and "));
}

std::vector<CaseResult> verify(const policy::Snapshot& snapshot, std::span<const Case> cases) {
  const policy::Evaluator evaluator(snapshot);
  const Inventory inventory(snapshot);
  std::vector<CaseResult> results;
  for (const Case& wanted : cases) {
    auto answers = answers_to(evaluator, snapshot, inventory, wanted);
    CaseResult result{wanted, {}, {}};
    if (answers) {
      result.answers = *std::move(answers);
    } else {
      result.error = answers.error().message;
    }
    results.push_back(std::move(result));
  }
  return results;
}

boost::json::object to_json(std::span<const CaseResult> results) {
  boost::json::array cases;
  for (const CaseResult& result : results) {
    boost::json::object object;
    object["from"] = result.wanted.from;
    object["to"] = result.wanted.to;
    object["protocol"] = result.wanted.traffic.protocol_text();
    if (result.wanted.traffic.has_port() && !result.wanted.traffic.every_port()) {
      object["port"] = result.wanted.traffic.port;
    }
    if (result.wanted.traffic.is_icmp()) {
      object["icmpType"] = result.wanted.traffic.icmp_type;
      object["icmpCode"] = result.wanted.traffic.icmp_code;
    }
    object["expect"] = result.wanted.allowed ? "allow" : "deny";
    object["holds"] = result.passed();
    boost::json::array answers;
    for (const Explained& answer : result.answers) {
      boost::json::object one{{"family", number_of(answer.question.family)}};
      if (result.wanted.traffic.every_port()) one["port"] = answer.question.traffic.port;
      one["verdict"] = policy::to_string(answer.verdict());
      one["pending"] = policy::to_string(answer.pending());
      answers.push_back(std::move(one));
    }
    object["answers"] = std::move(answers);
    if (!result.error.empty()) object["error"] = result.error;
    object["line"] = result.wanted.line;
    cases.push_back(std::move(object));
  }
  return {{"cases", std::move(cases)}};
}

std::string to_junit(std::span<const CaseResult> results, std::string_view file_name) {
  const auto failures =
      std::ranges::count_if(results, [](const CaseResult& r) { return !r.passed() && r.error.empty(); });
  const auto errors = std::ranges::count_if(results, [](const CaseResult& r) { return !r.error.empty(); });
  const std::string suite = xml_escaped(file_name);
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
  out += fmt::format("<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\">\n", suite,
                     results.size(), failures, errors);
  for (const CaseResult& result : results) {
    out += fmt::format("  <testcase classname=\"{}\" name=\"{}\" line=\"{}\"", suite,
                       xml_escaped(result.wanted.to_string()), result.wanted.line);
    if (result.passed()) {
      out += "/>\n";
      continue;
    }
    std::string details;
    for (const Explained* surprise : result.surprises()) details += to_text(*surprise) + "\n";
    const std::string_view element = result.error.empty() ? "failure" : "error";
    out += fmt::format(">\n    <{0} message=\"{1}\">{2}</{0}>\n  </testcase>\n", element,
                       xml_escaped(result.failure()), xml_escaped(details));
  }
  return out + "</testsuite>\n";
}

}  // namespace ocicat::views
