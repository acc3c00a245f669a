// A table that is held as one value: small enough to be made anew as a whole, and changed by its elements
// where nothing else differs.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel/nft.h"

namespace ocicat::kernel::nft {

struct SmallTable {
  std::vector<Chain> chains;
  std::vector<Rule> rules;                                   // in order; marked_rule()
  std::vector<std::pair<Set, std::vector<Element>>> sets{};  // elements ascending

  // What a kernel that holds this answers to read_shape().
  Shape shape() const;
  bool operator==(const SmallTable&) const = default;
};

// A rule that can be known again: marked with the digest of what it says.
Rule marked_rule(std::string_view chain, std::vector<std::uint8_t> expressions);

// Holds a kernel's table to what is wanted.
//
//   writes   only what differs; where nothing is known of the kernel, it is read first
//   cost     sync() the whole table; change() what changes, and moving what stands behind it in its set
//   errors   what is there stays, counts as unknown, and is read again by the next sync()
class SmallTableKeeper {
 public:
  // Borrows the kernel.
  explicit SmallTableKeeper(Kernel& kernel) : kernel_(kernel) {}

  // Makes it so, in one transaction. Whatever else stands in the table goes. Nothing: there is to be no
  // table.
  Result<void> sync(const std::optional<SmallTable>& wanted);
  // Elements of one of its sets, and nothing else, in one transaction; both ascending. kUnavailable: what is there is
  // not known.
  Result<void> change(const Set& set, const std::vector<Element>& come, const std::vector<Element>& gone);
  // Somebody else may have changed it.
  void distrust() { known_ = false; }
  bool known() const { return known_; }
  std::uint64_t writes() const { return writes_; }

 private:
  Result<Batch> difference(const std::optional<SmallTable>& wanted);
  Result<void> read(const SmallTable& like);

  Kernel& kernel_;
  std::optional<SmallTable> there_;
  bool known_ = false;
  std::uint64_t writes_ = 0;
};

}  // namespace ocicat::kernel::nft
