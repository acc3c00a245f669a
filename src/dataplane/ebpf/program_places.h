// Where programs of ours are at interfaces, and what keeps them there: links with pins, as kernels with tcx
// have them, or filters of traffic control, which stay with the interface.
//
//   pins     FOLDER/INDEX-ingress, INDEX-egress, with the interface's index; of links alone
//   errors   what is attached stays
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "base/unique_fd.h"
#include "kernel/bpf.h"
#include "kernel/filters.h"

namespace ocicat::dataplane::ebpf {

struct Place {
  int interface = 0;
  kernel::bpf::Hook hook{};

  auto operator<=>(const Place&) const = default;
};
using ProgramIds = std::map<Place, std::uint32_t>;

class ProgramPlaces {
 public:
  virtual ~ProgramPlaces() = default;

  // Programs of ours that are at the hooks of these interfaces, or are known to have been.
  virtual Result<ProgramIds> read(const std::set<int>& interfaces) = 0;
  // Adds, or takes the place of the one that is there at once. kNotFound: there is no such interface.
  virtual Result<void> put(const Place& place, int program) = 0;
  // One that is not there is no error.
  virtual Result<void> remove(const Place& place) = 0;
};

class LinkPlaces final : public ProgramPlaces {
 public:
  explicit LinkPlaces(std::filesystem::path folder) : folder_(std::move(folder)) {}

  Result<ProgramIds> read(const std::set<int>& interfaces) override;
  Result<void> put(const Place& place, int program) override;
  Result<void> remove(const Place& place) override;

 private:
  std::filesystem::path file_of(const Place& place) const;
  Result<void> read_pins();

  std::filesystem::path folder_;
  std::optional<std::map<Place, UniqueFd>> links_;  // nothing: the pins have not been read
};

// All places of this kind in the network namespace of the caller are left.
Result<void> leave_filter_places(const std::set<int>& interfaces);

class FilterPlaces final : public ProgramPlaces {
 public:
  // In the network namespace of the calling thread.
  static Result<std::unique_ptr<FilterPlaces>> open();
  explicit FilterPlaces(kernel::Filters filters) : filters_(std::move(filters)) {}

  Result<ProgramIds> read(const std::set<int>& interfaces) override;
  Result<void> put(const Place& place, int program) override;
  Result<void> remove(const Place& place) override;

 private:
  kernel::Filters filters_;
};

}  // namespace ocicat::dataplane::ebpf
