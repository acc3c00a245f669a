// Asks the network itself who may talk to whom, with real packets.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "lab/ports.h"
#include "views/matrix.h"

namespace ocicat::lab {

// A workload that probes and is probed.
struct ProbeEnd {
  std::string name;  // "shop/frontend"
  std::string network_namespace;
  std::vector<IpAddress> addresses;  // at most one of each family is used
  std::vector<NamedPort> listens;
};

// What came back.
enum class Answer : std::uint8_t {
  kEcho,         // SYN ACK, echoed datagram, echo reply, INIT ACK
  kRefused,      // reset, port unreachable or ABORT: something answered for a closed port
  kUnreachable,  // an ICMP error of another kind, or no route
  kNone,         // nothing, within the time given and after several tries
};
std::string_view to_string(Answer answer);

struct ProbeResult {
  std::size_t from = 0;  // index of a ProbeEnd
  std::size_t to = 0;
  views::Traffic traffic;
  Family family = Family::kIpv4;
  Answer answer = Answer::kNone;
  // An echo means allowed. So does a refusal by an end that does not listen there: only the end itself can
  // have sent it. A refusal by one that does listen comes from something in between that rejects.
  bool allowed = false;
};

struct ProbeOptions {
  std::vector<views::Traffic> traffics;  // TCP, UDP, SCTP and echo requests
  std::optional<Family> family;          // none: both
  // How long silence must last to mean "denied": since the last packet was sent, and while answers still come
  // in, since the last answer. Unanswered probes are sent again at a third and two thirds of it.
  std::chrono::milliseconds patience{500};
  // Counts the probes of a lab. Source ports and echo identifiers follow from it, so that connection tracking
  // never takes a probe for part of an earlier one, which policy may have allowed.
  std::uint32_t number = 0;
};

// Whether probe() knows how to send it, as `options.traffics` must be.
Result<void> check_can_be_probed(const views::Traffic& traffic);

// Every ordered pair of different ends, each traffic, each family that both have, in the order from, to,
// traffic, family. All at once from one thread that enters the namespaces one after the other; in several
// rounds where the limit of open files demands it.
Result<std::vector<ProbeResult>> probe(const std::vector<ProbeEnd>& ends, const ProbeOptions& options);

// As cells of a matrix, without what only the policy itself knows.
std::vector<views::Cell> to_cells(const std::vector<ProbeEnd>& ends, const std::vector<ProbeResult>& results);

}  // namespace ocicat::lab
