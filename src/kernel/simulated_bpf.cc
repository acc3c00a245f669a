#include "kernel/simulated_bpf.h"

namespace ocicat::kernel::bpf {

Result<void> SimulatedMap::work() {
  if (!fails_after || (*fails_after)-- > 0) return {};
  fails_after.reset();
  return fail(ErrorCode::kExhausted, "no memory");
}

Result<void> SimulatedMap::put(Bytes key, Bytes value) {
  TRY_VOID(work());
  elements.insert_or_assign(text_of(key), text_of(value));
  return {};
}

Result<void> SimulatedMap::remove(Bytes key) {
  TRY_VOID(work());
  elements.erase(text_of(key));
  return {};
}

Result<void> SimulatedMap::for_each(const std::function<void(Bytes, Bytes)>& visit) {
  TRY_VOID(work());
  for (const auto& [key, value] : elements)
    visit(std::as_bytes(std::span(key)), std::as_bytes(std::span(value)));
  return {};
}

}  // namespace ocicat::kernel::bpf
