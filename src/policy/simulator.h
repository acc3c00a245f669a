// The decision tables looked up in memory, exactly as a datapath looks them up in the kernel.
#pragma once

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
  ClassId class_of(const IpAddress& address) const;

 private:
  const Tables& tables_;
  // Host prefixes are found by hash; others by length, longest first.
};

}  // namespace ocicat::policy
