// The programs of host endpoints: one at the host's netfilter hooks, attached where there are host endpoints, and
// in the drivers of interfaces with untracked policy. And the pins that keep them there.
//
//   pins     FOLDER/HOOK-FAMILY, FOLDER/driver-INDEX, with the interface's index
//   errors   what is attached stays
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/unique_fd.h"
#include "kernel/bpf.h"

namespace ocicat::dataplane::ebpf {

struct HostPrograms {
  UniqueFd host, driver;
  UniqueFd untracked_in, untracked_out;  // which rules ask, before the kernel tracks a packet (guard.h)
};

class HostHooks {
 public:
  explicit HostHooks(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Makes it so: `wanted` says whether packets are judged at the host's hooks, `drivers` at which interfaces
  // before. Programs of another build are replaced by these; at the host's hooks both are in force for a
  // moment. An interface that takes no program before, as where somebody else has one there, has ours at the
  // host's hooks only, which say the same.
  Result<void> sync(const HostPrograms& programs, bool wanted, const std::set<int>& drivers);
  // Which of `drivers` took none, and why.
  const std::map<int, std::string>& refused() const { return refused_; }
  // Others may have changed something: look at the pins again.
  void distrust() { known_ = false; }
  std::uint64_t writes() const { return writes_; }

 private:
  using Attach = std::function<Result<UniqueFd>()>;

  Result<void> read_pins();
  Result<void> settle(const std::string& name, int program, const Attach& attach);
  Result<void> sync_drivers(const HostPrograms& programs, const std::set<int>& drivers);
  void keep_only(std::set<std::string> wanted);
  void detach(const std::string& name);

  std::filesystem::path folder_;
  bool known_ = false, trusted_ = false;      // what is attached; and so it was before this sync()
  std::map<std::string, UniqueFd> attached_;  // by the name of the pin
  std::map<int, std::string> refused_;
  std::uint64_t writes_ = 0;
};

}  // namespace ocicat::dataplane::ebpf
