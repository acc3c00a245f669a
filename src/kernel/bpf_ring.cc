#include "kernel/bpf_ring.h"

#include <bpf/libbpf.h>

#include <cerrno>

namespace ocicat::kernel::bpf {

struct Ring::Reading {
  const std::function<void(Bytes)>* visit = nullptr;
  std::size_t left = 0;
};

void Ring::Free::operator()(ring_buffer* ring) const {
  ::ring_buffer__free(ring);
}

int Ring::on_record(void* context, void* record, std::size_t size) {
  auto& reading = *static_cast<Reading*>(context);
  (*reading.visit)({static_cast<const std::byte*>(record), size});
  return --reading.left == 0 ? -ECANCELED : 0;  // ends it here; the record counts as read
}

Result<Ring> Ring::of(const UniqueFd& map) {
  Ring ring;
  ring.reading_ = std::make_shared<Reading>();
  ring.ring_.reset(::ring_buffer__new(map.get(), &Ring::on_record, ring.reading_.get(), nullptr));
  if (!ring.ring_) return fail_errno("read a ring", errno);
  return ring;
}

std::size_t Ring::read(std::size_t most, const std::function<void(Bytes)>& visit) {
  *reading_ = {&visit, most};
  if (most > 0) ::ring_buffer__consume(ring_.get());
  return most - reading_->left;
}

}  // namespace ocicat::kernel::bpf
