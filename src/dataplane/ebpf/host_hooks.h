// The programs of host endpoints: one at the host's netfilter hooks, attached where there are host endpoints, unless rules
// ask others in its place (guard.h); and in the drivers of interfaces with untracked policy. And the pins that keep them there.
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
#include "kernel/bpf_abilities.h"

namespace ocicat::dataplane::ebpf {

// Who asks programs at the host's netfilter hooks: the kernel, where it has a place for them there; else rules of nftables,
// where these can; else nobody, and there are no host endpoints.
enum class AskedBy : std::uint8_t { kNobody, kKernel, kRules };
AskedBy asked_by(const kernel::bpf::Abilities& can);

// Where: behind the hook's filters, those of table `ocicat` among them, and behind translation of what the host sends.
inline constexpr std::int32_t kHostPriority = 7;

// Those that this kernel has a use for.
struct HostPrograms {
  UniqueFd driver;
  UniqueFd untracked_in, untracked_out;  // which rules ask, before the kernel tracks a packet (guard.h)
  UniqueFd host;                         // where the kernel asks
  UniqueFd input, forward, output;       // where rules do
};

class HostHooks {
 public:
  explicit HostHooks(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Makes it so: `at_hooks` says whether a program is to be at the host's hooks, `drivers` at which interfaces
  // before. Programs of another build are replaced by these; at the host's hooks both are in force for a
  // moment. An interface that takes no program before, as where somebody else has one there, has ours at the
  // host's hooks only, which say the same.
  Result<void> sync(const HostPrograms& programs, bool at_hooks, const std::set<int>& drivers);
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
