// Expected connectivity as a test.
//
// A cases file is YAML or JSON: a list of cases, or a mapping with the list under `cases`. A case is a
// mapping
//
//   - from: shop/frontend        # NAMESPACE/NAME, host:NAME or an IP address
//     to: shop/api
//     port: tcp/8080             # as `ocicat explain` takes it; tcp: every port must answer so
//     expect: allow              # or deny
//     family: 4                  # or 6; without it every family that both have must answer so
//     source-port: 1024          # optional
//
// or, for short, one entry "FROM -> TO PROTO/PORT": allow|deny
//
//   - shop/frontend -> shop/db tcp/5432: deny
#pragma once

#include <boost/json/fwd.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policy/evaluator.h"
#include "resources/document.h"
#include "views/explain.h"

namespace ocicat::views {

struct Case {
  std::string from;
  std::string to;
  Traffic traffic;
  std::optional<Family> family;
  std::uint16_t source_port = kAnySourcePort;
  bool allowed = false;
  int line = 0;  // in the cases file

  std::string to_string() const;  // "shop/frontend -> shop/db tcp/5432 is denied"
};

struct ReadCases {
  std::vector<Case> cases;
  std::vector<Complaint> complaints;  // with any of these, nothing should be run
};

ReadCases read_cases(std::string_view text, const std::string& file_name);

struct CaseResult {
  Case wanted;
  std::string error;               // the question could not be asked: no such endpoint, no common family
  std::vector<Explained> answers;  // one a family, and a group of ports where there are several

  std::vector<const Explained*> surprises() const;  // answers that are other ones
  bool passed() const { return error.empty() && surprises().empty(); }
  // Empty for one that passed; else one line: what was expected, what is, and what decided.
  std::string failure() const;
  // Empty where staged policy changes no answer; else one line: what it would be.
  std::string staged_note() const;
};

std::vector<CaseResult> verify(const policy::Snapshot& snapshot, std::span<const Case> cases);

// {"cases":[{"from","to","protocol","port","expect","holds","answers":[{"family","verdict","pending"}],"error",
// "line"}]}; ICMP has "icmpType" and "icmpCode" in place of "port"; "error" only where the question could not
// be asked.
boost::json::object to_json(std::span<const CaseResult> results);

// The report that CI systems read (one <testsuite>); `file_name` names the suite.
std::string to_junit(std::span<const CaseResult> results, std::string_view file_name);

}  // namespace ocicat::views
