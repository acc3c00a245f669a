#include "flows/event.h"

#include "dataplane/ebpf/address_image.h"
#include "maps/counters.h"

namespace ocicat::flows {
namespace {

struct Words {
  std::string_view word, sentence;
};
// By Reason.
constexpr std::array kWords{
    Words{"allowed", "policy lets it pass"},
    Words{"logged", "passes, and Log rules say so"},
    Words{"policy", "policy refuses it"},
    Words{"revoked", "was let through before, and policy denies it by now"},
    Words{"spoofed", "source is not an address of the workload"},
    Words{"not-ours", "nobody here has the destination, or the workload is not known yet"},
    Words{"to-host", "defaultEndpointToHostAction drops it"},
    Words{"invalid", "belongs to no connection and cannot begin one"},
    Words{"fragment", "its first fragment has not been let through"},
    Words{"malformed", "headers are cut short or contradict themselves"},
    Words{"not-ip", "neither IP nor ARP"},
    Words{"no-room", "the connection could not be noted"},
    Words{"changing", "policy changed faster than it could be judged"},
    Words{"tunnel", "tunnelled, and from no host of the cluster"},
    Words{"no-way-back", "came in from where no route leads, which bpfEnforceRPF asks for"},
    Words{"no-route", "no route leads there"},
    Words{"service", "for a service that nobody serves"},
    Words{"other", "the datapath gives a reason that this version does not know"},
};
static_assert(kWords.size() == static_cast<std::size_t>(Reason::kOther) + 1);

}  // namespace

Reason reason_of(std::uint8_t counter) {
  switch (counter) {
    case bpf::COUNT_JUDGED:
      return Reason::kAllowed;
    case bpf::COUNT_LOGGED:
      return Reason::kLogged;
    case bpf::DROP_POLICY:
      return Reason::kPolicy;
    case bpf::DROP_REVOKED:
      return Reason::kRevoked;
    case bpf::DROP_SPOOFED:
      return Reason::kSpoofed;
    case bpf::DROP_NOT_OURS:
      return Reason::kNotOurs;
    case bpf::DROP_TO_HOST:
      return Reason::kToHost;
    case bpf::DROP_INVALID:
      return Reason::kInvalid;
    case bpf::DROP_FRAGMENT:
      return Reason::kFragment;
    case bpf::DROP_MALFORMED:
      return Reason::kMalformed;
    case bpf::DROP_NOT_IP:
      return Reason::kNotIp;
    case bpf::DROP_NO_MEMORY:
      return Reason::kNoRoom;
    case bpf::DROP_CHANGING:
      return Reason::kChanging;
    case bpf::DROP_NO_WAY_BACK:
      return Reason::kNoWayBack;
    case bpf::DROP_NO_ROUTE:
      return Reason::kNoRoute;
    default:
      return Reason::kOther;
  }
}

std::string_view to_string(Reason reason) {
  return kWords[static_cast<std::size_t>(reason)].word;
}

std::string_view in_words(Reason reason) {
  return kWords[static_cast<std::size_t>(reason)].sentence;
}

std::optional<Reason> find_reason(std::string_view word) {
  for (std::size_t i = 0; i < kWords.size(); ++i) {
    if (kWords[i].word == word) return static_cast<Reason>(i);
  }
  return std::nullopt;
}

Event event_of(const bpf::event& told, std::chrono::nanoseconds offset) {
  using dataplane::ebpf::address_of;
  using policy::Direction;
  Event event;
  const auto since_epoch = std::chrono::nanoseconds(told.time) + offset;
  event.time = Moment(std::chrono::duration_cast<Moment::duration>(since_epoch));
  const bool turned = (told.flags & bpf::EVENT_IS_REPLY) != 0;
  event.source = address_of(turned ? told.destination : told.source);
  event.destination = address_of(turned ? told.source : told.destination);
  event.protocol = told.protocol;
  event.source_port = __builtin_bswap16(turned ? told.destination_port : told.source_port);
  event.destination_port = __builtin_bswap16(turned ? told.source_port : told.destination_port);
  if (event.protocol == kIcmp || event.protocol == kIcmpV6) event.source_port = 0;  // an identifier
  event.interface = told.interface;
  event.outcome(Direction::kEgress) = policy::OutcomeId{told.outcome[0]};
  event.outcome(Direction::kIngress) = policy::OutcomeId{told.outcome[1]};
  event.reason = reason_of(told.reason);
  const bool at_sender = ((told.flags & bpf::EVENT_FROM_ENDPOINT) != 0) != turned;
  event.end = at_sender ? Direction::kEgress : Direction::kIngress;
  event.from_host = (told.flags & bpf::EVENT_FROM_HOST) != 0;
  event.comes_in = (told.flags & bpf::EVENT_COMES_IN) != 0;
  event.size = told.size;
  return event;
}

}  // namespace ocicat::flows
