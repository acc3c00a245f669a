// The decision tables looked up in memory, exactly as a datapath looks them up in the kernel.
#pragma once

#include <optional>

#include "base/ip.h"
#include "base/prefix_map.h"
#include "policy/tables.h"

namespace ocicat::policy {

class Simulator {
 public:
  // Borrows the tables: they must outlive it. O(prefixes) to build.
  explicit Simulator(const Tables& tables);
  // Whenever they have changed, and before anything is asked.
  void changed(const Changes<Prefix, ClassId>& classes);

  // The outcome of `program` for a packet whose other side is `peer`. O(log intervals).
  // A program that is not there denies (trace empty).
  const Outcome& lookup(ProgramId program, const IpAddress& peer, const Packet& packet) const;
  // The outcome of a host endpoint's chain, whose side has `own`. One that is not there has nothing to say.
  const Outcome& lookup(ChainId chain, const IpAddress& own, const IpAddress& peer,
                        const Packet& packet) const;
  // The same as ids of outcomes; 0: no program, or nothing to say.
  OutcomeId find(ProgramId program, const IpAddress& peer, const Packet& packet) const;
  OutcomeId find(ChainId chain, const IpAddress& own, const IpAddress& peer, const Packet& packet) const;
  ClassId class_of(const IpAddress& address) const;

 private:
  // Null: the base table.
  const Table* table(ProgramId program, VocabularyId vocabulary, ClassId class_id) const;
  // The program of the chain for an own address; none: there is no such chain.
  std::optional<ProgramId> program_of(ChainId chain, const IpAddress& own) const;

  const Tables& tables_;
  PrefixMap<ClassId> classes_;
};

}  // namespace ocicat::policy
