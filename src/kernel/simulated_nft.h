// nf_tables in memory, with the kernel's rules and without the kernel: for tests that need its failures.
//
//   like the kernel   a batch is all or nothing; adding what is there, removing what is not, overlapping
//                     intervals, unknown sets and chains are refused
//   unlike            rules are not run
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>

#include "kernel/nft.h"

namespace ocicat::kernel::nft {

class SimulatedKernel final : public Kernel {
 public:
  Result<void> commit(const Batch& batch) override;
  Result<std::optional<Shape>> read_shape() override;
  Result<std::vector<Element>> read_elements(const Set& set) override;
  void let_packets_pass() override { used_.clear(); }

  // Asked before every call, with its number from 1 on: an error is what the call answers, and nothing is
  // done. With `lose_answer`, a commit is done all the same.
  struct Fault {
    Error error;
    bool lose_answer = false;
  };
  void fail_when(std::function<std::optional<Fault>(int call)> faults) { faults_ = std::move(faults); }
  // Called after every commit that was done.
  using Observer = std::function<void(const SimulatedKernel&)>;
  void watch(Observer observer) { observer_ = std::move(observer); }
  // Called within every commit that is done, with what packets may meet for a moment: everything new but
  // interval maps, which are what they were (Linux from 6.18 on), or lack what changes (before). What a
  // packet has read earlier may be of before the commit.
  using Elements = std::map<std::string, std::set<Element>>;
  using LateObserver = std::function<void(const Elements& now, const Elements& before)>;
  void watch_late(LateObserver observer) { late_observer_ = std::move(observer); }
  int commits() const { return commits_; }
  // Maps that went while packets were on their way through rules that may have used them.
  const std::set<std::string>& pulled_away() const { return pulled_away_; }

  // Somebody else's hand: elements as they are now, to look at and to spoil.
  std::set<Element>& elements(const std::string& set);
  const std::map<std::string, std::set<Element>>& all_elements() const { return elements_; }
  void drop_table() { shape_.reset(), elements_.clear(); }

 private:
  std::optional<Error> fault(bool* lose_answer = nullptr);
  Result<void> apply(const Operation& operation);
  Result<void> add(const AddElements& added);
  Result<void> remove(const DeleteElements& removed);
  Result<void> remove(const DeleteSet& gone);
  Result<void> remove(const DeleteChain& gone);
  void note_maps(const Batch& batch, const std::optional<Shape>& before);

  std::optional<Shape> shape_;
  std::map<std::string, std::set<Element>> elements_;
  std::function<std::optional<Fault>(int)> faults_;
  void show_late(const Elements& before);
  Observer observer_;
  LateObserver late_observer_;
  std::set<std::string> used_;  // maps, by packets on their way
  std::set<std::string> pulled_away_;
  int calls_ = 0;
  int commits_ = 0;
};

}  // namespace ocicat::kernel::nft
