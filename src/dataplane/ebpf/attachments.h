// The programs at workloads' interfaces: which are attached, where, and the pins that keep them there.
//
//   pins     FOLDER/links/INDEX-ingress, INDEX-egress, with the interface's index
//   errors   what is attached stays
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <vector>

#include "base/unique_fd.h"
#include "kernel/bpf.h"
#include "kernel/routes.h"

namespace ocicat::dataplane::ebpf {

// By hook: ingress of the host's side is what comes from the workload.
struct WorkloadPrograms {
  UniqueFd from_workload, to_workload;
};

class Attachments {
 public:
  explicit Attachments(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Adopts what is pinned: with the programs given, which replace others at once. Removes pins of interfaces
  // that have gone.
  Result<void> adopt(const WorkloadPrograms& programs);
  // Attaches at each interface of which this holds and where it is missing; detaches where it does not.
  Result<void> sync(const WorkloadPrograms& programs, const std::vector<kernel::Link>& links,
                    const std::function<bool(const kernel::Link&)>& is_workload);
  bool is_attached(int interface) const { return attached_.contains(interface); }
  std::vector<int> interfaces() const;
  std::uint64_t writes() const { return writes_; }

 private:
  using Links = std::array<UniqueFd, 2>;  // by hook

  std::filesystem::path file_of(int interface, kernel::bpf::Hook hook) const;
  Result<void> attach(const WorkloadPrograms& programs, int interface);
  void detach(int interface);

  std::filesystem::path folder_;
  std::map<int, Links> attached_;
  std::uint64_t writes_ = 0;
};

}  // namespace ocicat::dataplane::ebpf
