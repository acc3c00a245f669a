// Why a packet passes or not, in words and as JSON.
#pragma once

#include <boost/json/fwd.hpp>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "policy/evaluator.h"
#include "views/inventory.h"
#include "views/traffic.h"

namespace ocicat::views {

struct Question {
  Party from;
  Party to;
  Traffic traffic;
  Family family = Family::kIpv4;  // both parties have an address of it
  std::uint16_t source_port = kAnySourcePort;
};

// What a host endpoint says on the way, besides the end itself.
struct Crossing {
  ResourceKey endpoint;
  policy::Hook hook;
  policy::Verdict verdict = policy::Verdict::kNone;
  std::vector<policy::TraceStep> trace;
  policy::Judgement pending{};  // as if staged policy were enforced

  bool operator==(const Crossing&) const = default;
};

// What one end says.
struct Side {
  policy::Verdict verdict = policy::Verdict::kAllow;
  policy::Verdict pending = policy::Verdict::kAllow;  // as if staged policy were enforced
  std::vector<policy::TraceStep> trace;
  std::vector<policy::TraceStep> pending_trace;
  std::vector<policy::NearMiss> near_misses;
  std::vector<Crossing>
      crossings;     // chains of host endpoints that policy is asked in, other than the end's own
  std::string note;  // why there is no trace: "no endpoint here"
  // Of the rules that all of these name, by policy and index, where they have some.
  std::map<std::pair<ResourceKey, int>, Labels> annotations;
};

struct Explained {
  Question question;
  Side egress;   // at the source
  Side ingress;  // at the destination

  policy::Verdict verdict() const;  // allow only where both sides allow
  policy::Verdict pending() const;
};

// Of two ends: allow only where both do.
policy::Verdict both(policy::Verdict egress, policy::Verdict ingress);

Explained explain(const policy::Evaluator& evaluator, const Question& question);

// One step in words: "tier default: NetworkPolicy shop/api, ingress[2], allows".
std::string in_words(const policy::TraceStep& step, policy::Direction direction);

std::string to_text(const Explained& explained);
// With other words for the traffic.
std::string to_text(const Explained& explained, std::string_view traffic);
// {"from","to","source","destination","protocol","port","family","verdict","pending",
//  "egress":{"verdict","pending","trace":[…],"pendingTrace":[…],"nearMisses":[…],
//  "crossings":[{"endpoint","chain","verdict","pending","trace","pendingTrace"}]},"ingress":{…}}. ICMP has
// "icmpType" and "icmpCode", and no port. Rules are numbered from 0, as in field paths; steps and near misses
// whose rules have annotations have them as "annotations".
boost::json::object to_json(const Explained& explained);
// "protocol", and "port" or "icmpType" and "icmpCode", and "family": the same in every view.
void add_traffic(boost::json::object& json, const Traffic& traffic, Family family);

}  // namespace ocicat::views
