// What address management holds that nobody needs any more, and what does not fit together.
//
// Pure: from all that there is to what may be freed, what has to wait, and what only a person can judge. In
// doubt nothing is freed: an address without a known owner is reported, and stays.
//
//   rules    an address is leaked when its owner is gone; it is freed when that was seen before, at least a
//            grace period ago, or its host is gone; all addresses of a handle or none; a tunnel address by
//            its host alone, after all others of the host; an empty block when it was seen empty before, and
//            never a host's last of a family
//   source   docs/spec: semantics.md 5 (GC)
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "network/reservations.h"
#include "resources/ipam.h"
#include "resources/types.h"

namespace ocicat::network {

// A document of address management that cannot be read.
struct Unreadable {
  ResourceKey key;
  std::string why;
  std::optional<Prefix> block;  // of an IPAMBlock whose CIDR can be read: nothing is given from it
};
// The block that the address is in, where that is one of these.
std::optional<Prefix> unreadable_block_of(std::span<const Unreadable> documents, const IpAddress& address);

struct Inventory {
  std::vector<IpPool> pools;
  Reservations reservations;
  IpamConfiguration configuration;
  std::vector<IpamBlock> blocks;
  std::vector<BlockAffinity> affinities;
  std::vector<IpamHandle> handles;
  std::vector<Unreadable> unreadable;  // blocks, affinities and handles
  std::set<std::string> nodes;
  std::vector<WorkloadEndpoint> endpoints;  // pods included
};

enum class Fault : std::uint8_t {
  kLeakedAddress,     // its owner is gone
  kUnownedAddress,    // nothing says whose it is, and no endpoint has it
  kContestedAddress,  // given to one, and had by another; or had by two
  kStrayAddress,      // an endpoint has it, it is in a pool, and nobody was given it
  kStaleHandle,       // says more than there is
  kMissingHandle,     // an address is given under one that has no document
  kEmptyBlock,
  kBrokenAffinity,  // to a block that is not there, or is somebody else's, or left between two states
  kMissingAffinity,
  kUnreadableDocument,
  kBlockOutsidePools,
};
std::string_view to_string(Fault fault);  // "LeakedAddress"

enum class Verdict : std::uint8_t {
  kFree,    // nobody needs it; of a handle, what it says too much
  kWait,    // not seen for long enough, or others of its handle are needed
  kReport,  // for a person to judge
};
std::string_view to_string(Verdict verdict);  // "free", "wait", "report"

struct Finding {
  Fault fault{};
  Verdict verdict = Verdict::kReport;
  std::string subject;  // "10.0.0.7", "10.0.0.0/26", a handle, "IPAMBlock 10-0-0-0-26"
  std::string reason;
  TimePoint since;  // first seen

  // Where it is about an address; `sequence` tells this giving from a later one.
  std::optional<IpAddress> address;
  std::optional<std::int64_t> sequence;
  std::string handle;  // also of kStaleHandle
  // Where it is about a block or an affinity; of an address, the block it is in.
  std::optional<Prefix> block;
  std::optional<BlockOwner> owner;

  std::string key() const;  // the same as long as it is the same finding
};

// When findings were first seen, by key: of a former judgement, or of a report of one.
using Sightings = std::map<std::string, TimePoint>;

struct GracePeriods {
  std::chrono::seconds leak{15 * 60};
  std::chrono::seconds empty_block{60};
};

// In the order of faults, then subjects. O(everything × log).
std::vector<Finding> find_garbage(const Inventory& inventory, const Sightings& seen, TimePoint now,
                                  const GracePeriods& grace = {});

}  // namespace ocicat::network
