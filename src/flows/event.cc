#include "flows/event.h"

#include "dataplane/ebpf/address_image.h"
#include "dataplane/ebpf/connection_ledger.h"
#include "maps/counters.h"
#include "maps/holders.h"

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

Moment moment_of(std::uint64_t time, std::chrono::nanoseconds offset) {
  return Moment(std::chrono::duration_cast<Moment::duration>(std::chrono::nanoseconds(time) + offset));
}

Event event_of(const bpf::event& told, std::chrono::nanoseconds offset) {
  using dataplane::ebpf::address_of;
  using policy::Direction;
  Event event;
  event.time = moment_of(told.time, offset);
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

namespace {

// Whether the end has told of the connection's begin. At a host that is what comes in by one of its interfaces, or else
// goes out; what it forwards it tells once.
bool tells(const dataplane::ebpf::Booking& booking, policy::Direction end) {
  const auto& connection = booking.connection;
  const auto by = static_cast<std::uint32_t>(bpf::beginner(&connection));
  const bool egress = end == policy::Direction::kEgress;
  if (booking.key.at_host == 0) return bpf::slot_at(&connection, egress ? by : 1 - by) != 0;
  if ((connection.flags & bpf::HOST_CONNECTION_FORWARDED) != 0) return !egress;
  return connection.endpoint[egress ? 1 - by : by] != 0;
}

}  // namespace

void events_of(const dataplane::ebpf::Booking& booking, Moment time,
               const std::function<void(const Event&)>& visit) {
  using dataplane::ebpf::address_of;
  using policy::Direction;
  const auto& key = booking.key;
  const auto from = static_cast<std::size_t>(bpf::beginner(&booking.connection)), to = 1 - from;
  Event event;
  event.time = time;
  event.source = address_of(key.address[from]);
  event.destination = address_of(key.address[to]);
  event.protocol = key.protocol;
  event.source_port = __builtin_bswap16(key.port[from]);
  event.destination_port = __builtin_bswap16(key.port[to]);
  if (event.protocol == kIcmp || event.protocol == kIcmpV6) event.source_port = 0;  // an identifier
  event.reason = Reason::kAllowed;
  for (const auto end : {Direction::kEgress, Direction::kIngress}) {
    if (!tells(booking, end)) continue;
    const bool egress = end == Direction::kEgress;
    const auto own = egress ? from : to;
    event.end = end;
    event.outcomes = {};
    event.outcome(end) = policy::OutcomeId{booking.outcomes[egress ? 0 : 1]};
    event.carried = Carried{.packets_in = booking.packets[1 - own],
                            .packets_out = booking.packets[own],
                            .bytes_in = booking.bytes[1 - own],
                            .bytes_out = booking.bytes[own],
                            .goes_on = booking.goes_on};
    visit(event);
  }
}

}  // namespace ocicat::flows
