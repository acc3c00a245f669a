// The atomic sets in use, each a small number.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstdint>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "policy/packed_pool.h"

namespace ocicat::policy {

using SetId = std::uint32_t;  // from 1

// A signature is the ascending list of the sets that something is in. What names it to other processes is the
// digest of the digests of its sets.
using SignatureId = PackedPool::Id;

class SetSpace {
 public:
  SetSpace() : sets_(1) {}

  // One that went in this batch comes back under its number, and did neither come nor go.
  SetId create(const Digest& meaning);
  // The number has no other meaning before end_batch().
  void destroy(SetId id);
  void end_batch();

  // The same in every process, whatever the numbers are.
  Digest digest(std::span<const SetId> signature) const;
  Digest digest(SignatureId signature) const;
  // Sets that came into use since the last end_batch(), or went.
  const std::vector<SetId>& created() const { return created_; }
  const std::vector<SetId>& destroyed() const { return resting_; }
  // Numbers in use are below this.
  std::size_t bound() const { return sets_.size(); }
  std::size_t size() const { return sets_.size() - 1 - free_.size() - resting_.size(); }

  PackedPool signatures;

 private:
  std::vector<Digest> sets_;
  std::vector<SetId> free_;
  std::vector<SetId> resting_;
  boost::unordered_flat_map<Digest, std::size_t> resting_by_meaning_;  // into resting_
  std::vector<SetId> created_;
};

}  // namespace ocicat::policy
