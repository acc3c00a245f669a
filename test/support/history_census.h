// What has happened in a history: so that a test can say that it was tried by all that it claims to be.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "test/support/random_history.h"

namespace ocicat::test {

class HistoryCensus {
 public:
  // A step from `before`. O(resources).
  void note(const policy::Snapshot& before, const Step& step);

  // How often each kind of event was seen; those that never were are in it with 0.
  const std::map<std::string, std::size_t>& counts() const { return counts_; }
  std::vector<std::string> never_seen() const;

 private:
  void note_deletions(const policy::Snapshot& before, const Step& step);
  void note_changes(const policy::Snapshot& before, const Step& step);
  void note_successions(const policy::Snapshot& before, const Step& step);
  void note_addresses(const policy::Snapshot& before, const policy::Snapshot& after);
  void note_nets(const policy::Snapshot& after);
  void count(const std::string& what, std::size_t times = 1);

  std::map<std::string, std::size_t> counts_ = all_events();
  policy::Snapshot gone_;  // as they were last

  static std::map<std::string, std::size_t> all_events();
};

}  // namespace ocicat::test
