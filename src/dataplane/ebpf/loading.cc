#include "dataplane/ebpf/loading.h"

#include "dataplane/ebpf/program_places.h"
#include "kernel/network_namespace.h"

namespace ocicat::dataplane::ebpf {
namespace {

// Filters are tried in a network namespace of their own.
Result<void> try_filters(int program) {
  constexpr int kLoopback = 1;
  TRY(const auto nowhere, kernel::NetworkNamespace::create());
  Result<void> done;
  nowhere.run([&] {
    auto places = FilterPlaces::open();
    done = places ? (*places)->put({kLoopback, kernel::bpf::Hook::kIngress}, program)
                  : std::unexpected(places.error());
  });
  return done;
}

}  // namespace

Result<std::shared_ptr<Objects>> load_objects(const std::filesystem::path& folder,
                                              const kernel::bpf::Abilities& usable) {
  TRY(const auto can, kernel::bpf::abilities(usable));
  if (!can.types) return fail(ErrorCode::kUnsupported, "it does not tell of its types (BTF)");
  TRY_VOID(kernel::bpf::make_pin_folder(folder));
  TRY(auto objects, Objects::adopt_or_make(folder, asked_by(can)));
  if (!can.tcx)
    TRY_VOID(try_filters(objects.attachable().at(Role::kWorkload, kernel::bpf::Hook::kIngress).get()));
  return std::make_shared<Objects>(std::move(objects));
}

}  // namespace ocicat::dataplane::ebpf
