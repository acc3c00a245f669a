// A table that is held as one value: small enough to have its rules written anew as a whole, and changed by its
// elements where nothing else differs.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
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
// The same where the expressions name something by a number of this process: `meaning` says what it is.
Rule marked_rule(std::string_view chain, std::vector<std::uint8_t> expressions, std::string_view meaning);

// Holds a kernel's table to what is wanted.
//
//   writes   only what differs; where nothing is known of the kernel, it is read first
//   packets  on their way through what stood there before end by that: sets and chains that are not wanted go in a
//            second transaction, behind them. Only where a wanted one has the name of another that is there, all of
//            it is replaced at once, and a packet may miss a map that it was about to ask
//   cost     sync() the whole table; change() what changes, and moving what stands behind it in its set
//   errors   what is there stays, counts as unknown, and is read again by the next sync()
class SmallTableKeeper {
 public:
  // Borrows the kernel.
  explicit SmallTableKeeper(Kernel& kernel) : kernel_(kernel) {}

  // Makes it so, in one transaction, and in another removes whatever else stands in the table. Nothing: there is to
  // be no table.
  Result<void> sync(const std::optional<SmallTable>& wanted);
  // Elements of one of its sets, and nothing else, in one transaction; both ascending. kUnavailable: what is there is
  // not known.
  Result<void> change(const Set& set, const std::vector<Element>& come, const std::vector<Element>& gone);
  // Somebody else may have changed it.
  void distrust() { known_ = false; }
  bool known() const { return known_; }
  std::uint64_t writes() const { return writes_; }

 private:
  struct Contents {
    explicit Contents(const SmallTable& table);
    Contents() = default;
    bool operator==(const Contents&) const = default;

    Shape shape;
    std::map<std::string, std::vector<Element>> elements;  // ascending; when read, of sets that are wanted
  };
  using Sets = std::map<std::string, Set>;  // by name
  Result<void> read(const Sets& wanted);
  Result<void> commit(const Batch& batch);
  Result<void> write(const std::optional<SmallTable>& wanted);
  static Batch step(const Contents& there, const SmallTable& wanted);

  Kernel& kernel_;
  std::optional<Contents> there_;
  bool known_ = false;
  std::uint64_t writes_ = 0;
};

}  // namespace ocicat::kernel::nft
