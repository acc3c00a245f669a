// What is asked of policy, and what it answers.
#pragma once

#include <boost/iterator/indirect_iterator.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "resources/types.h"

namespace ocicat::policy {

enum class Direction : std::uint8_t { kIngress, kEgress };
inline constexpr std::array kDirections{Direction::kIngress, Direction::kEgress};
std::string_view to_string(Direction direction);  // "ingress", "egress"

// Where policy is asked. A workload has the normal chain only; a host endpoint has all four
// (semantics.md 2.2).
//
//   chain       asked about                                  tiers deny at their end   after them
//   normal      what ends or begins at the host or workload  yes                       profiles, else deny
//   forward     what the host forwards                       yes                       none
//   untracked   all, before connection tracking              no                        none
//   pre-DNAT    all that comes in, before translation        no                        none
enum class ChainKind : std::uint8_t { kNormal, kForward, kUntracked, kPreDnat };
std::string_view to_string(ChainKind chain);  // "normal", "forward", "untracked", "preDNAT"

// A chain in one direction. Ingress is what comes in through the interface of a host endpoint, egress what
// goes out there. Pre-DNAT has no egress.
struct Hook {
  ChainKind chain = ChainKind::kNormal;
  Direction direction = Direction::kIngress;

  auto operator<=>(const Hook&) const = default;
};
inline constexpr std::array kHooks{
    Hook{ChainKind::kNormal, Direction::kIngress},    Hook{ChainKind::kNormal, Direction::kEgress},
    Hook{ChainKind::kForward, Direction::kIngress},   Hook{ChainKind::kForward, Direction::kEgress},
    Hook{ChainKind::kUntracked, Direction::kIngress}, Hook{ChainKind::kUntracked, Direction::kEgress},
    Hook{ChainKind::kPreDnat, Direction::kIngress},
};
// The place of a hook in kHooks.
constexpr std::size_t index_of(Hook hook) {
  return static_cast<std::size_t>(hook.chain) * 2 + static_cast<std::size_t>(hook.direction);
}

enum class Verdict : std::uint8_t {
  kAllow,
  kDeny,
  kNone,  // the chain ends without an answer, and the packet goes on; only chains of host endpoints may
};
std::string_view to_string(Verdict verdict);  // "allow", "deny", "none"

// The first packet of a connection, as policy sees it: after destination translation.
struct Packet {
  IpAddress source;
  IpAddress destination;
  Protocol protocol = kTcp;
  std::uint16_t source_port = 0;       // protocols with ports
  std::uint16_t destination_port = 0;  // protocols with ports
  std::uint8_t icmp_type = 0;          // ICMP and ICMPv6
  std::uint8_t icmp_code = 0;

  Family family() const { return destination.family(); }
};

// Names of resources, shared with whoever else names them: a trace may name hundreds.
class KeyList {
 public:
  using Shared = std::shared_ptr<const ResourceKey>;
  using value_type = ResourceKey;
  using const_iterator = boost::indirect_iterator<std::vector<Shared>::const_iterator>;

  KeyList() = default;
  KeyList(std::initializer_list<ResourceKey> keys) {
    for (const auto& key : keys) add(std::make_shared<const ResourceKey>(key));
  }
  // Not null.
  void add(Shared key) { keys_.push_back(std::move(key)); }
  const_iterator begin() const { return keys_.begin(); }
  const_iterator end() const { return keys_.end(); }
  std::size_t size() const { return keys_.size(); }
  bool empty() const { return keys_.empty(); }
  bool operator==(const KeyList& other) const { return std::ranges::equal(*this, other); }

 private:
  std::vector<Shared> keys_;
};

// One decision on the way: a rule that matched, or what stands in for one.
struct TraceStep {
  static constexpr int kTierDefault = -1;   // fell off the end of the tier
  static constexpr int kNoProfile = -2;     // no profile allowed it; or the one named in `policy` is missing
  static constexpr int kEncapsulated = -4;  // a workload sends tunnelled packets, which no policy can judge
  static constexpr int kBroken = -3;        // the policy or profile cannot be compiled and therefore denies
  static constexpr int kFailsafe = -5;      // a failsafe port of a host, which no policy closes

  std::string tier;  // kProfileTier for profiles
  // The policy or profile that decided. A profile is named as a Profile, whatever kind it was made from. No
  // name for kTierDefault, and for kNoProfile where none of the profiles decided.
  ResourceKey policy;
  int rule = 0;                   // index in its direction's list, from 0; or one of the constants
  Action action = Action::kDeny;  // what was done: pass and log lead on to the next step
  // For kTierDefault: the policies of the tier that select the endpoint in this direction, in order; staged
  // ones only in a trace that counts them as enforced.
  KeyList selected_by;

  bool operator==(const TraceStep&) const = default;
};
inline constexpr std::string_view kProfileTier = "__PROFILE__";

// "default|NetworkPolicy shop/api|rule 2|allow", "default|-|end of tier|deny", "__PROFILE__|-|no
// profile|deny",
// "__PROFILE__|Profile kns.shop|missing|deny", "default|NetworkPolicy shop/api|broken|deny".
std::string to_string(const TraceStep& step);

struct Judgement {
  Verdict verdict = Verdict::kDeny;
  // What decided, in order: Log and Pass rules that matched, tiers left by their default action Pass, then
  // the last word.
  std::vector<TraceStep> trace;

  bool operator==(const Judgement&) const = default;
};

// The end of policy's thinking about one packet in one direction at one endpoint.
struct Outcome : Judgement {
  // As if staged policy were enforced. None where that changes neither the verdict nor how it came about.
  std::optional<Judgement> pending;

  Outcome() = default;
  explicit Outcome(Judgement enforced, std::optional<Judgement> staged_too = {})
      : Judgement{std::move(enforced)}, pending{std::move(staged_too)} {}
  Outcome(Verdict verdict_only, std::vector<TraceStep> steps) : Judgement{verdict_only, std::move(steps)} {}

  const Judgement& with_staged() const { return pending ? *pending : *this; }
  bool operator==(const Outcome&) const = default;
};

}  // namespace ocicat::policy
