#include "dataplane/ebpf/program_places.h"

#include <fmt/format.h>

#include <array>
#include <system_error>
#include <vector>

#include "kernel/rcu.h"

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::Hook;

constexpr std::array kBothHooks{Hook::kIngress, Hook::kEgress};

void remove_pin(const std::filesystem::path& file) {
  std::error_code ignored;  // one that is not there is no error, and what stays is seen at the next look
  std::filesystem::remove(file, ignored);
}

}  // namespace

std::filesystem::path LinkPlaces::file_of(const Place& place) const {
  return folder_ / fmt::format("{}-{}", place.interface, place.hook == Hook::kIngress ? "ingress" : "egress");
}

Result<void> LinkPlaces::read_pins() {
  std::error_code failed;
  std::vector<std::filesystem::path> files;
  if (std::filesystem::exists(folder_, failed)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder_, failed))
      files.push_back(entry.path());
  }
  if (failed) return fail(ErrorCode::kInternal, "list {}: {}", folder_.string(), failed.message());
  std::map<Place, UniqueFd> links;
  for (const auto& file : files) {
    TRY(auto link, kernel::bpf::open_pin(file));
    TRY(const auto info, kernel::bpf::info_of_link(link.get()));
    const Place place{info.interface, info.hook};
    const bool known = info.hook == Hook::kIngress || info.hook == Hook::kEgress;
    if (known && info.interface != 0 && file == file_of(place)) {
      links.emplace(place, std::move(link));
    } else {
      remove_pin(file);
    }
  }
  links_ = std::move(links);
  return {};
}

// An interface that has gone has taken its links along, whoever has its index now: none is there then.
Result<ProgramIds> LinkPlaces::read(const std::set<int>& /*interfaces*/) {
  if (!links_) TRY_VOID(read_pins());
  ProgramIds programs;
  for (auto it = links_->begin(); it != links_->end();) {
    TRY(const auto info, kernel::bpf::info_of_link(it->second.get()));
    if (info.interface == it->first.interface) {
      programs.emplace(it->first, info.program_id);
      ++it;
    } else {
      const kernel::ExpeditedGracePeriods at_once;
      remove_pin(file_of(it->first));
      it = links_->erase(it);
    }
  }
  return programs;
}

Result<void> LinkPlaces::put(const Place& place, int program) {
  const kernel::ExpeditedGracePeriods at_once;
  if (const auto link = links_->find(place); link != links_->end())
    return kernel::bpf::replace_program(link->second.get(), program);
  TRY(auto made, kernel::bpf::attach(program, place.interface, place.hook));
  TRY_VOID(kernel::bpf::make_pin_folder(folder_));
  TRY_VOID(kernel::bpf::pin(made.get(), file_of(place)));
  links_->emplace(place, std::move(made));
  return {};
}

Result<void> LinkPlaces::remove(const Place& place) {
  const kernel::ExpeditedGracePeriods at_once;
  remove_pin(file_of(place));
  links_->erase(place);
  return {};
}

Result<std::unique_ptr<FilterPlaces>> FilterPlaces::open() {
  TRY(auto filters, kernel::Filters::open());
  return std::make_unique<FilterPlaces>(std::move(filters));
}

Result<void> leave_filter_places(const std::set<int>& interfaces) {
  TRY(const auto places, FilterPlaces::open());
  TRY(const auto there, places->read(interfaces));
  for (const auto& [place, program] : there) TRY_VOID(places->remove(place));
  return {};
}

Result<ProgramIds> FilterPlaces::read(const std::set<int>& interfaces) {
  ProgramIds programs;
  for (const auto interface : interfaces) {
    for (const auto hook : kBothHooks) {
      TRY(const auto program, filters_.program(interface, hook));
      if (program != 0) programs.emplace(Place{interface, hook}, program);
    }
  }
  return programs;
}

Result<void> FilterPlaces::put(const Place& place, int program) {
  return filters_.put(place.interface, place.hook, program);
}

Result<void> FilterPlaces::remove(const Place& place) {
  return filters_.remove(place.interface, place.hook);
}

}  // namespace ocicat::dataplane::ebpf
