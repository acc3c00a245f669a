// The decision tables looked up in memory, exactly as a datapath looks them up in the kernel.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <array>
#include <cstdint>
#include <vector>

#include "base/ip.h"
#include "policy/tables.h"

namespace ocicat::policy {

class Simulator {
 public:
  // Borrows the tables: they must outlive it and not change. O(prefixes) to build.
  explicit Simulator(const Tables& tables);

  // The outcome of `program` for a packet whose other side is `peer`. O(log intervals).
  // A program that is not there denies (trace empty).
  const Outcome& lookup(ProgramId program, const IpAddress& peer, const Packet& packet) const;
  // The outcome of a host endpoint's chain, whose side has `own`. One that is not there has nothing to say.
  const Outcome& lookup(ChainId chain, const IpAddress& own, const IpAddress& peer,
                        const Packet& packet) const;
  ClassId class_of(const IpAddress& address) const;

 private:
  // Null: the base table.
  const Table* table(ProgramId program, VocabularyId vocabulary, ClassId class_id) const;

  const Tables& tables_;
  boost::unordered_flat_map<Prefix, ClassId> class_by_prefix_;
  std::array<std::vector<std::uint8_t>, 2> lengths_;  // that prefixes have, longest first; by family
};

}  // namespace ocicat::policy
