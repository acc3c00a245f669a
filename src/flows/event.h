// What a datapath tells of: a flow that begins, or a packet that is refused, at one end.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "base/ip.h"
#include "maps/events.h"
#include "policy/table.h"
#include "resources/types.h"

namespace ocicat::dataplane::ebpf {
struct Booking;
}

namespace ocicat::flows {

using Moment = std::chrono::system_clock::time_point;

// Why a packet was let through or not.
enum class Reason : std::uint8_t {
  kAllowed,    // policy lets the flow begin
  kLogged,     // nothing but that Log rules want to say so: it passes, and begins nothing
  kPolicy,     // policy refuses it
  kRevoked,    // of a connection that was let through before, and that policy denies by now
  kSpoofed,    // its source is not an address of the workload
  kNotOurs,    // nobody here has its destination, or the workload is not known yet
  kToHost,     // defaultEndpointToHostAction
  kInvalid,    // cannot begin a connection, and belongs to none
  kFragment,   // its first fragment has not been let through
  kMalformed,  // headers that are cut short or contradict themselves
  kNotIp,
  kNoRoom,     // the connection could not be noted
  kChanging,   // policy changed faster than it could be judged
  kTunnel,     // tunnelled, and from no host of the cluster
  kNoWayBack,  // came in from where no route leads (bpfEnforceRPF)
  kNoRoute,    // no route leads from the host to its destination
  kService,    // for a service that nobody serves (serviceLoopPrevention)
  kOther,      // a datapath of another version says so
};
// "allowed", "policy", "revoked", …: one word each.
std::string_view to_string(Reason reason);
std::optional<Reason> find_reason(std::string_view word);
// For people: "source is not an address of the workload".
std::string_view in_words(Reason reason);
// As eBPF tells it and counts (enum bpf::counter); kOther: it is no reason.
Reason reason_of(std::uint8_t counter);

// What a connection has carried since it was told last, as the end that tells sees it: in is what comes to it. Bytes are
// from the IP header on, of packets as a link carries them.
struct Carried {
  std::uint64_t packets_in = 0, packets_out = 0;
  std::uint64_t bytes_in = 0, bytes_out = 0;
  bool goes_on = true;  // else that was the last of it

  bool is_idle() const { return goes_on && packets_in == 0 && packets_out == 0; }
};

struct Event {
  Moment time;
  IpAddress source;  // of the flow: of a refused answer, the end that began the connection
  IpAddress destination;
  std::uint16_t source_port = 0;                // protocols with ports
  std::uint16_t destination_port = 0;           // of ICMP type << 8 | code
  std::uint32_t interface = 0;                  // its index
  std::array<policy::OutcomeId, 2> outcomes{};  // of policy::Direction; 0: it was not asked
  Protocol protocol = 0;
  Reason reason = Reason::kOther;
  policy::Direction end = policy::Direction::kEgress;  // whose end tells: the sender's, or the receiver's
  bool from_host = false;                              // the host itself sent it
  bool comes_in = true;                                // by the interface; else it leaves by it
  std::uint32_t size = 0;                              // of the packet, bytes
  std::optional<Carried> carried;                      // it tells of this, and of no packet; nothing begins

  policy::OutcomeId& outcome(policy::Direction of) { return outcomes[static_cast<std::size_t>(of)]; }
  bool allowed() const { return reason == Reason::kAllowed; }
  bool begins() const { return allowed() && !carried; }
};

// `offset`: from CLOCK_MONOTONIC, which is what programs tell, to the time of day.
Moment moment_of(std::uint64_t time, std::chrono::nanoseconds offset);
Event event_of(const bpf::event& told, std::chrono::nanoseconds offset);
// Of what a connection has carried one for each end that has told when it began.
void events_of(const dataplane::ebpf::Booking& booking, Moment time,
               const std::function<void(const Event&)>& visit);

}  // namespace ocicat::flows
