// Table `inet ocicat` in a kernel: holds it to what is desired.
//
//   writes   a change is one transaction of the elements that differ, with others before and after it where
//            interval maps are concerned (policy_delta.h)
//   errors   the kernel keeps what it had; the table then counts as unknown until resync() has succeeded
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "dataplane/nftables/desired_policy.h"
#include "dataplane/policy_datapath.h"
#include "kernel/nft.h"

namespace ocicat::dataplane {

class PolicyTable final : public PolicyDatapath {
 public:
  // Borrows the kernel.
  explicit PolicyTable(kernel::nft::Kernel& kernel) : kernel_(kernel) {}

  // Takes the changes over, whatever happens, and writes them where the kernel's state is known. Else nothing
  // is written: call resync().
  Result<void> apply(const HostChanges& changes) override;
  Result<void> assign(const HostInterfaces& interfaces) override;

  // Reads the kernel and writes what differs, the ruleset included. Sets and chains that are not wanted, as of an older
  // layout or of the guard of eBPF, go in the end, behind the packets that are on their way through them. Only where a
  // wanted one has the name of another that is there, or constants are not what they should be, the table is replaced
  // at once, and a packet may miss a map that it was about to ask. Whether anything had to be written.
  Result<bool> resync() override;

  // Whether the kernel holds what is desired, as far as is known.
  bool in_step() const override { return in_step_; }
  void distrust() override { in_step_ = false; }
  bool serves(const std::string&) const override { return true; }
  const policy::Tables* tables_for_connections() const override { return &desired_.tables(); }
  std::uint64_t writes() const override { return writes_; }

 private:
  struct Actual {
    kernel::nft::Shape shape;
    std::set<Map> missing;
    Entries entries;  // of those that are there, in order
  };
  Result<void> commit(const kernel::nft::Batch& batch);
  // Nothing: there is no table, or none beside which what is wanted can stand.
  Result<std::optional<Actual>> read(const struct Ruleset& ruleset);
  Result<void> rebuild(const struct Ruleset& ruleset);
  Result<void> mend(const Actual& actual, const struct Ruleset& ruleset);

  kernel::nft::Kernel& kernel_;
  DesiredPolicy desired_;
  HostInterfaces interfaces_;
  bool in_step_ = false;
  std::uint64_t writes_ = 0;
};

// Ids that the kernel's table uses; empty where there is none of this layout.
Result<policy::Dictionary> read_dictionary(kernel::nft::Kernel& kernel);

// Has the kernel track connections from here on, where policy in nftables does not make it do so yet. Lasts
// until the table is another.
Result<void> track_connections(kernel::nft::Kernel& kernel);

// Removes the table, if there is one.
Result<void> remove_table(kernel::nft::Kernel& kernel);

}  // namespace ocicat::dataplane
