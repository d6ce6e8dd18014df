-- Subscribing everything goes user by user and router by router, a page of queues at a time.
CREATE INDEX rcv_queues_user_id_router_queue_id ON rcv_queues (user_id, router COLLATE "C", queue_id COLLATE "C");
