// The documents that address management keeps, as values, and back again: the same documents as Calico's, so
// that its tools may share them.
//
// Unlike other kinds these are read in order to be written, so each also encodes. What stands in a document
// and is not known here is lost when it is written; the server refuses unknown fields, so there is none.
//
//   source   docs/spec: semantics.md 5 and 10; api-v3.fields.txt
#pragma once

#include <boost/json/object.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "base/time_text.h"
#include "resources/kinds.h"
#include "resources/types.h"

namespace ocicat {

// "10.0.0.0/26" as part of a name: "10-0-0-0-26".
std::string name_of(const Prefix& prefix);

struct IpReservation {
  std::string name;
  std::vector<Prefix> cidrs;

  bool operator==(const IpReservation&) const = default;
};

// IPAMConfiguration `default`. The default value is what counts where there is none.
struct IpamConfiguration {
  bool strict_affinity = false;      // nobody takes an address from another's block
  bool auto_allocate_blocks = true;  // hosts may claim blocks
  int max_blocks_per_host = 0;       // 0: kDefaultMaxBlocks
  std::chrono::seconds cooldown{0};  // from an address's release until it may be given again

  bool operator==(const IpamConfiguration&) const = default;
};

// Why Calico's client would not set that, and ours neither; empty: it would. A document may say it all the same, as
// Calico's reference does, and is followed to the letter.
std::string_view contradiction_in(const IpamConfiguration& configuration);

// Whose a block is: "host:host1", "virtual:load-balancer".
struct BlockOwner {
  enum class Type : std::uint8_t { kHost, kVirtual };
  Type type = Type::kHost;
  std::string name;

  static std::optional<BlockOwner> parse(std::string_view text);
  std::string to_string() const;
  auto operator<=>(const BlockOwner&) const = default;
};

// That a host wants a block, has it, or gives it up. Which of two hosts has it only the block itself says.
struct BlockAffinity {
  enum class State : std::uint8_t { kConfirmed, kPending, kPendingDeletion };

  Prefix cidr;
  BlockOwner owner;
  State state = State::kConfirmed;
  bool deleted = false;  // on its way out, as good as gone

  bool operator==(const BlockAffinity&) const = default;
};
std::string_view to_string(BlockAffinity::State state);

// Where the addresses are that were given under one name, such as a container's.
struct IpamHandle {
  std::string id;
  std::map<Prefix, int> blocks;  // how many in each; never fewer than there are, at times more
  bool deleted = false;

  bool operator==(const IpamHandle&) const = default;
};

// Addresses, and who has them. An ordinal is a place in the block, 0 its first address.
struct IpamBlock {
  using Ordinal = std::uint32_t;

  // Who has an address; shared by the addresses of one assignment.
  struct Attribute {
    std::optional<std::string> handle;
    Labels secondary;  // "node", "pod", "namespace", "type" …
    Labels alternate;
    std::optional<TimePoint> released_at;  // it cools down: nobody has it, and nobody gets it yet

    bool operator==(const Attribute&) const = default;
  };

  Prefix cidr;  // masked
  std::optional<BlockOwner> affinity;
  std::optional<TimePoint> claimed_at;
  std::vector<std::optional<std::uint32_t>> allocations;  // by ordinal: which attribute; nothing: free
  std::vector<Ordinal> unallocated;                       // the free ones; the first is the next to be given
  std::vector<Attribute> attributes;
  std::int64_t sequence = 0;                     // raised by every write
  std::map<Ordinal, std::int64_t> allocated_at;  // `sequence` when the address was given
  bool strict_affinity = false;
  bool deleted = false;

  std::size_t size() const { return allocations.size(); }
  bool operator==(const IpamBlock&) const = default;
};

// A value, and the metadata of the document it was read from: whatever labels it has survive a write, and the
// resourceVersion is the one that the write is made against. Of a new one: its name.
template <class Value>
struct Stored {
  Value value;
  boost::json::object metadata;

  std::string_view revision() const {
    const auto* text = metadata.if_contains("resourceVersion");
    return text != nullptr && text->is_string() ? std::string_view(text->get_string()) : std::string_view();
  }
};

// What they are called.
ResourceKey key_of(const IpamBlock& block);
ResourceKey block_key(const Prefix& cidr);
ResourceKey affinity_key(const BlockOwner& owner, const Prefix& cidr);
ResourceKey handle_key(std::string_view id);
ResourceKey ipam_configuration_key();

Result<IpReservation> decode_reservation(const boost::json::object& document);
Result<IpamConfiguration> decode_ipam_configuration(const boost::json::object& document);
// An affinity and a block must go by the names that follow from what they are about, so that no two documents are
// about one block.
Result<Stored<BlockAffinity>> decode_affinity(const boost::json::object& document);
Result<Stored<IpamHandle>> decode_handle(const boost::json::object& document);
// Heals the order of free addresses: an ordinal is either allocated or stands in it once. An allocation whose
// attribute is missing stays an allocation. Bounded: a block has at most 2^kMaxBlockBits addresses.
Result<Stored<IpamBlock>> decode_block(const boost::json::object& document);
// The address at a place in the block.
IpAddress address_at(const Prefix& block, IpamBlock::Ordinal ordinal);
// The name of the host that an address was given to, as its attribute says; empty: it does not.
std::string_view node_of(const IpamBlock::Attribute& attribute);
// What the ways to its addresses follow from.
Result<AddressBlock> decode_address_block(const boost::json::object& document);
// Of a BlockAffinity.
Result<BlockClaim> decode_block_claim(const boost::json::object& document);

boost::json::object encode(const IpamConfiguration& configuration);
boost::json::object encode(const Stored<BlockAffinity>& affinity);
boost::json::object encode(const Stored<IpamHandle>& handle);
boost::json::object encode(const Stored<IpamBlock>& block);

}  // namespace ocicat
