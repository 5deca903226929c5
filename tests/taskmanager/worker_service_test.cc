#include "taskmanager/worker_service.h"

#include <gtest/gtest.h>

#include "tests/port_noise.h"

namespace weir {
namespace {

TEST(WorkerService, AConnectionHasALimitOfCalls) {
  const auto service = WorkerService::Start("127.0.0.1", 0);
  EXPECT_EQ(AnnouncedMaxStreams(service->port()), 64u);
}

}  // namespace
}  // namespace weir
